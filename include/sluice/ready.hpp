// SPDX-License-Identifier: Apache-2.0
//! The list of coroutines that can go on.
#pragma once

#include <coroutine>
#include <cstddef>

namespace sluice::detail {

//! A coroutine's place in the ready list. The first base of its promise, so that one follows from
//! the other: in g++ and clang a frame begins with two function pointers, and the promise is next,
//! as long as it needs no wider alignment than that. Linked at most once at a time.
class ready_node {
public:
    [[nodiscard]] bool queued() const noexcept { return next_ready_ != nullptr; }
    [[nodiscard]] std::coroutine_handle<> handle() noexcept {
        return std::coroutine_handle<>::from_address(reinterpret_cast<std::byte*>(this) - head);
    }
    static ready_node& of(std::coroutine_handle<> h) noexcept {
        return *reinterpret_cast<ready_node*>(static_cast<std::byte*>(h.address()) + head);
    }

private:
    friend class ready_list;
    static constexpr std::size_t head = 2 * sizeof(void*);

    ready_node* next_ready_ = nullptr;
};

//! Intrusive FIFO: a ring, of which the last one is known. Never allocates, never fails.
class ready_list {
public:
    [[nodiscard]] bool empty() const noexcept { return tail_ == nullptr; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    void push(ready_node& n) noexcept {
        n.next_ready_ = &n;
        if (tail_ != nullptr) {
            n.next_ready_ = tail_->next_ready_;
            tail_->next_ready_ = &n;
        }
        tail_ = &n;
        ++size_;
    }

    //! The list must not be empty.
    ready_node& pop() noexcept {
        ready_node& n = *tail_->next_ready_;
        tail_->next_ready_ = n.next_ready_;
        if (&n == tail_) tail_ = nullptr;
        --size_;
        n.next_ready_ = nullptr;
        return n;
    }

    //! Takes `n` out, wherever it is: linear, for tearing down only.
    void remove(ready_node& n) noexcept {
        ready_list kept;
        while (!empty()) {
            ready_node& x = pop();
            if (&x != &n) kept.push(x);
        }
        *this = kept;
    }

private:
    ready_node* tail_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace sluice::detail
