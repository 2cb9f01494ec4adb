// SPDX-License-Identifier: Apache-2.0
//! The list of coroutines that can go on.
#pragma once

#include <coroutine>
#include <cstddef>

namespace sluice::detail {

//! A place in the ready list, part of the awaiter that waits. Linked at most once at a time.
struct ready_node {
    ready_node* next = nullptr;
    std::coroutine_handle<> handle;
    bool queued = false;
};

//! Intrusive FIFO. Never allocates, never fails.
class ready_list {
public:
    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    void push(ready_node& n) noexcept {
        n.next = nullptr;
        n.queued = true;
        (tail_ != nullptr ? tail_->next : head_) = &n;
        tail_ = &n;
        ++size_;
    }

    //! The list must not be empty.
    ready_node& pop() noexcept {
        ready_node& n = *head_;
        head_ = n.next;
        if (head_ == nullptr) tail_ = nullptr;
        --size_;
        n.queued = false;
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
    ready_node* head_ = nullptr;
    ready_node* tail_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace sluice::detail
