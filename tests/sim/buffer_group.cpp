// SPDX-License-Identifier: Apache-2.0
#include "sim/buffer_group.hpp"

#include <algorithm>
#include <cstring>

namespace sluice::sim {

namespace {
constexpr int poison = 0xdb;
}  // namespace

buffer_group::buffer_group(world& w, const io_uring_buf_reg& registration, io_uring_buf_ring* ring)
    : world_(w),
      ring_(ring),
      entries_(registration.ring_entries),
      id_(registration.bgid),
      incremental_((registration.flags & IOU_PBUF_RING_INC) != 0) {}

buffer_group::buffer_group(world& w, const io_uring_buf_reg& registration)
    : buffer_group(w, registration, nullptr) {
    pages_ = mapped_pages(entries_ * sizeof(io_uring_buf));
    ring_ = pages_.at<io_uring_buf_ring>(0);
}

void buffer_group::complain(const std::string& what, std::uint16_t buffer) const {
    world_.fail("buffer group " + std::to_string(id_) + ", buffer " + std::to_string(buffer) +
                ": " + what);
}

void buffer_group::audit() {
    const std::uint16_t tail = __atomic_load_n(&ring_->tail, __ATOMIC_ACQUIRE);
    if (static_cast<std::uint16_t>(tail - head_) > entries_) {
        complain("the tail is further from the head than the ring is long", 0);
        return;
    }
    while (tail_ != tail) take_in(entry(tail_++));
}

void buffer_group::take_in(const io_uring_buf& given) {
    auto [state, is_new] = with_kernel_.try_emplace(given.bid, false);
    if (is_new) ++known_;
    if (state->second) {
        complain("given back, but the kernel has it", given.bid);
        return;
    }
    if (given.len == 0) complain("given with a length of 0", given.bid);
    const std::uint64_t end = given.addr + given.len;
    auto next = held_.lower_bound(given.addr);
    const bool hits_next = next != held_.end() && next->first < end;
    const bool hits_previous = next != held_.begin() && std::prev(next)->second.first > given.addr;
    if (hits_next || hits_previous) {
        complain("its memory is part of another buffer that the kernel has", given.bid);
        return;
    }
    state->second = true;
    held_[given.addr] = {end, given.bid};
    if (world_.options.poison_returned_buffers)
        std::memset(reinterpret_cast<void*>(given.addr), poison, given.len);
}

std::optional<buffer_group::selected> buffer_group::peek() {
    audit();
    if (head_ == tail_) return std::nullopt;
    const io_uring_buf& first = entry(head_);
    return selected{reinterpret_cast<std::byte*>(first.addr), first.len};
}

std::uint32_t buffer_group::commit(std::size_t used) {
    io_uring_buf& first = entry(head_);
    const std::uint16_t id = first.bid;
    const std::uint32_t flags =
        IORING_CQE_F_BUFFER | (std::uint32_t{id} << IORING_CQE_BUFFER_SHIFT);
    const auto part = static_cast<std::uint32_t>(std::min<std::size_t>(used, first.len));
    const auto held = std::find_if(held_.begin(), held_.end(),
                                   [&](const auto& h) { return h.second.second == id; });
    if (incremental_ && part < first.len) {
        const std::uint64_t end = held->second.first;
        held_.erase(held);
        first.addr += part;
        first.len -= part;
        held_[first.addr] = {end, id};
        return flags | IORING_CQE_F_BUF_MORE;
    }
    if (incremental_) first.len = 0;
    held_.erase(held);
    with_kernel_[id] = false;
    ++head_;
    return flags;
}

}  // namespace sluice::sim
