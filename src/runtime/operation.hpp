// SPDX-License-Identifier: Apache-2.0
//! One request at the kernel, from submission to its terminal CQE.
#pragma once

#include <cstdint>

#include "runtime/uring.hpp"

namespace sluice::detail {

//! Someone to whom a ring says things that no request asked for. Aligned, so that its address can
//! stand for it in a user_data, marked.
class alignas(8) ring_notice {
public:
    static constexpr std::uint64_t mark = 5;
    static constexpr std::uint64_t mark_bits = 7;

    //! One CQE. Called while CQEs are being reaped.
    virtual void on_notice(std::int32_t result) noexcept = 0;

    [[nodiscard]] std::uint64_t user_data() const noexcept {
        return reinterpret_cast<std::uint64_t>(this) | mark;
    }
    static ring_notice& of(std::uint64_t user_data) noexcept {
        return *reinterpret_cast<ring_notice*>(user_data & ~mark_bits);
    }

protected:
    ~ring_notice() = default;
};

//! One request. Its owner must keep it until its terminal CQE, the one without IORING_CQE_F_MORE,
//! has been handed to the complete function. It may be submitted again then.
class operation {
public:
    //! Fills the SQE, which is zeroed; user_data is set afterwards by the reactor.
    using prepare_function = void (*)(operation&, io_uring_sqe&) noexcept;

    //! Takes one CQE: result and flags. Called while CQEs are being reaped, so it must not resume
    //! a coroutine. When the CQE is terminal the operation may be submitted again from here.
    using complete_function = void (*)(operation&, std::int32_t result,
                                       std::uint32_t flags) noexcept;

    operation(prepare_function prepare, complete_function complete) noexcept
        : prepare_(prepare), complete_(complete) {}
    operation(const operation&) = delete;
    operation& operator=(const operation&) = delete;
    ~operation() {
        if (live_) destroyed_while_live();
    }

    //! Submitted, or parked, and its terminal CQE not seen.
    [[nodiscard]] bool live() const noexcept { return live_; }

    //! reactor_io::cancel() was called for it since it was submitted.
    [[nodiscard]] bool cancelling() const noexcept { return cancelling_; }

protected:
    //! What it is from its next submission on: for owners that need two requests, never at once.
    void become(prepare_function prepare, complete_function complete) noexcept {
        prepare_ = prepare;
        complete_ = complete;
    }

private:
    friend class reactor_io;
    [[noreturn]] static void destroyed_while_live() noexcept;

    //! What waits for room in the submission queue: the request, or the wish to cancel it. Never
    //! both, since a request that is parked needs no SQE to be cancelled.
    enum class parked : std::uint8_t { nothing, request, cancel };

    prepare_function prepare_;
    complete_function complete_;
    operation* next_parked_ = nullptr;
    parked parked_ = parked::nothing;
    bool live_ = false;
    bool cancelling_ = false;
};

}  // namespace sluice::detail
