// SPDX-License-Identifier: Apache-2.0
#include "sluice/buffer.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>

namespace sluice {

namespace detail {

void buffer_source::release_away(buffer_block& b) noexcept {
    if (b.away.released()) {
        returns_.push(b);
        if (wanted_.exchange(false, std::memory_order_seq_cst)) {
            const std::lock_guard lock(wake_mutex_);
            if (home_.load(std::memory_order_relaxed) != this) wake_home();
        }
    }
    if (away_.released()) delete this;
}

const std::shared_ptr<fixed_region>& buffer_source::region_of(const buffer_block&) const noexcept {
    static const std::shared_ptr<fixed_region> none;
    return none;
}

bool buffer_source::settle(buffer_block& b) noexcept {
    if (!b.away.cancels(b.handles)) return false;
    b.handles = 0;
    recycle(b);
    return true;
}

std::size_t buffer_source::take_returned() noexcept {
    std::size_t home = 0;
    for (home_node* n = returns_.take_all(); n != nullptr;) {
        home_node* next = n->next_home;
        auto& b = static_cast<buffer_block&>(*n);
        b.handles += b.away.arrived();  // it may be pushed again from here
        if (settle(b)) ++home;
        n = next;
    }
    return home;
}

void buffer_source::retire() noexcept {
    collect_returns();
    {
        const std::lock_guard lock(wake_mutex_);
        // Not null, which is what threads without a reactor have.
        home_.store(this, std::memory_order_relaxed);
    }
    if (away_.owner_leaves(lent_)) delete this;
}

void buffer_source::hand_over(const void* new_home) noexcept {
    const std::lock_guard lock(wake_mutex_);
    home_.store(new_home, std::memory_order_release);
}

void release_heap_block(buffer_block& b) noexcept {
    if (!b.away.released_last()) return;
    b.~buffer_block();
    frame_pool::deallocate(&b);
}

}  // namespace detail

rx_buffer rx_buffer::slice(std::size_t offset, std::size_t count) const noexcept {
    if (block_ == nullptr || offset >= size_) return {};
    if (block_->source != nullptr)
        block_->source->acquire(*block_);
    else
        block_->away.acquired();
    const auto length = std::min<std::size_t>(count, size_ - offset);
    return rx_buffer{data_ + offset, block_, static_cast<std::uint32_t>(length)};
}

rx_buffer rx_buffer::split(std::size_t count) noexcept {
    if (count >= size_) return std::move(*this);
    rx_buffer first = slice(0, count);
    data_ += count;
    size_ -= static_cast<std::uint32_t>(count);
    return first;
}

rx_buffer rx_buffer::of_heap(std::size_t size) {
    if (size > std::numeric_limits<std::uint32_t>::max())
        throw std::length_error("sluice: a buffer holds less than 4 GiB");
    void* memory = detail::frame_pool::allocate(sizeof(detail::buffer_block) + size);
    auto* b = new (memory) detail::buffer_block;
    b->away.acquired();
    auto* data = static_cast<std::byte*>(memory) + sizeof(detail::buffer_block);
    return rx_buffer{data, b, static_cast<std::uint32_t>(size)};
}

rx_buffer rx_buffer::copy_of(std::span<const std::byte> bytes) {
    if (bytes.empty()) return {};
    rx_buffer made = of_heap(bytes.size());
    std::memcpy(made.data_, bytes.data(), bytes.size());
    return made;
}

}  // namespace sluice
