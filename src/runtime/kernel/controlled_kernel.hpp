// SPDX-License-Identifier: Apache-2.0
//! Linux with a clock that tests move, and with operations that fail when tests want it.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/kernel/kernel.hpp"

namespace sluice::detail {

//! Everything goes to Linux but two things. The time stands still; a wait with a deadline that
//! finds nothing to do moves it there at once. And the n-th request of a ring can be turned into
//! one that fails: IORING_NOP_INJECT_RESULT, Linux 6.10.
class controlled_kernel : public kernel {
public:
    static std::unique_ptr<controlled_kernel> create();

    virtual void advance(std::int64_t ns) noexcept = 0;

    //! Requests seen so far that can be made to fail: all but cancelling, closing and the reactor's
    //! own.
    [[nodiscard]] virtual std::uint64_t requests() const noexcept = 0;

    //! The request number `n`, counted as requests() does, beginning with 1, fails with `error`.
    virtual void fail_at(std::uint64_t n, int error) noexcept = 0;
};

}  // namespace sluice::detail
