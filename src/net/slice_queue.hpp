// SPDX-License-Identifier: Apache-2.0
//! Received slices that nobody has taken yet, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "sluice/buffer.hpp"
#include "sluice/frame_pool.hpp"

namespace sluice::detail {

//! FIFO; the first slice has its place here, further ones in nodes of the reactor's pool. A slice
//! right behind the last one in memory is joined to it.
class slice_queue {
public:
    slice_queue() = default;
    slice_queue(const slice_queue&) = delete;
    slice_queue& operator=(const slice_queue&) = delete;
    ~slice_queue() { clear(); }

    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    rx_buffer& front() noexcept { return front_; }

    //! Returns false when `b` was joined to the last slice. Throws bad_alloc, `b` unharmed.
    bool push(rx_buffer& b) {
        if (count_ == 0) {
            front_ = std::move(b);
            count_ = 1;
            return true;
        }
        if ((last_ != nullptr ? last_->slice : front_).join(b)) return false;
        node* n = new (frame_pool::allocate(sizeof(node))) node{std::move(b), nullptr};
        n->next = last_ != nullptr ? std::exchange(last_->next, n) : n;
        last_ = n;
        ++count_;
        return true;
    }

    //! The queue must not be empty.
    rx_buffer pop() noexcept {
        rx_buffer taken = std::move(front_);
        --count_;
        if (last_ != nullptr) {
            node* n = last_->next;
            front_ = std::move(n->slice);
            last_->next = n->next;
            if (n == last_) last_ = nullptr;
            n->~node();
            frame_pool::deallocate(n);
        }
        return taken;
    }

    //! Moves the slices that `source` has lent to the heap; returns how many. Throws bad_alloc with
    //! some of them moved.
    std::size_t copy_out(const buffer_source& source) {
        std::size_t copied = 0;
        const auto copy = [&](rx_buffer& b) {
            if (b.empty() || b.block()->source != &source) return;
            b = b.copy();
            ++copied;
        };
        copy(front_);
        node* n = last_;
        for (std::size_t further = 1; further < count_; ++further) {
            n = n->next;
            copy(n->slice);
        }
        return copied;
    }

    void swap(slice_queue& o) noexcept {
        std::swap(front_, o.front_);
        std::swap(last_, o.last_);
        std::swap(count_, o.count_);
    }

    void clear() noexcept {
        while (count_ != 0) pop();
    }

private:
    struct node {
        rx_buffer slice;
        node* next;
    };
    [[no_unique_address]] rx_buffer front_;  // its padding holds what follows
    std::uint32_t count_ = 0;
    node* last_ = nullptr;  // of those in nodes, which are a ring
};

}  // namespace sluice::detail
