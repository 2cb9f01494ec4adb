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
    // Announced before it is counted: whoever sees the count knows that the block will come by the
    // list, and leaves it alone until then.
    const bool first = !b.going_home.exchange(true, std::memory_order_acq_rel);
    b.away.fetch_sub(1, std::memory_order_acq_rel);
    if (first) {
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
    // Mostly no other thread has had a part in it, and the locked instruction can be saved.
    if (b.away.load(std::memory_order_acquire) != 0)
        b.handles += b.away.exchange(0, std::memory_order_acq_rel);
    if (b.handles != 0 || b.going_home.load(std::memory_order_acquire)) return false;
    recycle(b);
    return true;
}

std::size_t buffer_source::take_returned() noexcept {
    std::size_t home = 0;
    for (home_node* n = returns_.take_all(); n != nullptr;) {
        home_node* next = n->next_home;
        auto& b = static_cast<buffer_block&>(*n);
        b.going_home.store(false, std::memory_order_release);  // it may be pushed again from here
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
    if (b.away.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    b.~buffer_block();
    frame_pool::deallocate(&b);
}

}  // namespace detail

rx_buffer rx_buffer::slice(std::size_t offset, std::size_t count) const noexcept {
    if (block_ == nullptr || offset >= size_) return {};
    if (block_->source != nullptr)
        block_->source->acquire(*block_);
    else
        block_->away.fetch_add(1, std::memory_order_relaxed);
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
    b->away.store(1, std::memory_order_relaxed);
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
