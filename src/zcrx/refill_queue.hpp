// SPDX-License-Identifier: Apache-2.0
//! The ring by which chunks go back to the kernel. One producer: the reactor of the queue.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/uring.hpp"

namespace sluice::detail {

class refill_queue {
public:
    //! Bytes of the region for so many entries, whatever the kernel's header is.
    [[nodiscard]] static std::size_t region_bytes(std::uint32_t entries) noexcept;

    //! Where in the region the kernel may put its statistics.
    [[nodiscard]] static std::size_t statistics_offset(std::uint32_t entries) noexcept;

    void attach(void* region, const io_uring_zcrx_offsets& offsets, std::uint32_t entries) noexcept;

    [[nodiscard]] bool attached() const noexcept { return head_ != nullptr; }
    [[nodiscard]] std::uint32_t entries() const noexcept { return entries_; }

    //! Published and not yet read by the kernel. By any thread.
    [[nodiscard]] std::uint32_t unseen() const noexcept {
        return __atomic_load_n(shared_tail_, __ATOMIC_ACQUIRE) -
               __atomic_load_n(head_, __ATOMIC_ACQUIRE);
    }
    [[nodiscard]] bool full() const noexcept {
        return tail_ - __atomic_load_n(head_, __ATOMIC_ACQUIRE) >= entries_;
    }

    //! One token of the chunk at `offset`. The queue must not be full. The kernel sees it after
    //! publish().
    void write(std::uint64_t offset, std::uint32_t length) noexcept {
        io_uring_zcrx_rqe& entry = ring_[tail_ & (entries_ - 1)];
        entry.off = offset;
        entry.len = length;
        entry.__pad = 0;
        ++tail_;
    }

    void publish() noexcept { __atomic_store_n(shared_tail_, tail_, __ATOMIC_RELEASE); }

private:
    std::uint32_t* head_ = nullptr;
    std::uint32_t* shared_tail_ = nullptr;
    io_uring_zcrx_rqe* ring_ = nullptr;
    std::uint32_t entries_ = 0;
    std::uint32_t tail_ = 0;
};

}  // namespace sluice::detail
