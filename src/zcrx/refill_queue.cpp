// SPDX-License-Identifier: Apache-2.0
#include "zcrx/refill_queue.hpp"

namespace sluice::detail {

namespace {
constexpr std::size_t page = 4096;  // the kernel's header has 128 bytes at most
}  // namespace

std::size_t refill_queue::statistics_offset(std::uint32_t entries) noexcept {
    const std::size_t used = page + entries * sizeof(io_uring_zcrx_rqe);
    return (used + page - 1) / page * page;
}

std::size_t refill_queue::region_bytes(std::uint32_t entries) noexcept {
    return statistics_offset(entries) + page;
}

void refill_queue::attach(void* region, const io_uring_zcrx_offsets& offsets,
                          std::uint32_t entries) noexcept {
    auto* base = static_cast<std::byte*>(region);
    head_ = reinterpret_cast<std::uint32_t*>(base + offsets.head);
    shared_tail_ = reinterpret_cast<std::uint32_t*>(base + offsets.tail);
    ring_ = reinterpret_cast<io_uring_zcrx_rqe*>(base + offsets.rqes);
    entries_ = entries;
    tail_ = *shared_tail_;
}

}  // namespace sluice::detail
