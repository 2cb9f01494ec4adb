// SPDX-License-Identifier: Apache-2.0
//! The line in which coroutines wait for a primitive: what event, mutex, channel and the rest
//! share.
#pragma once

#include <coroutine>

#include "sluice/awaitable.hpp"

namespace sluice::detail {

class wait_line;

//! Base of an awaiter that waits in a line: the place in it is part of the awaiter, so waiting
//! allocates nothing. It ends waiting in one of three ways:
//!
//! - *released*: it has left the line, and the primitive may be gone by the time it resumes;
//! - *granted*: something is set aside for it (a permit, a place, a value). It keeps its place
//! until
//!   it resumes and takes it; an awaiter that is destroyed before has to give it back;
//! - *cancelled*: it has left the line and has got nothing.
class wait_node : public waiter {
protected:
    wait_node() = default;
    wait_node(wait_node&& o) noexcept : waiter(std::move(o)) {}
    ~wait_node();

    [[nodiscard]] bool granted() const noexcept { return state_ == state::granted; }
    [[nodiscard]] bool cancelled() const noexcept { return state_ == state::cancelled; }

    //! To be asked first in await_suspend(): whether the chain has been cancelled. Then this is
    //! cancelled, passes through the ready list, and await_suspend() returns true.
    bool ends_cancelled(std::coroutine_handle<> h, const environment& env) noexcept {
        if (!env.stop.stop_requested()) return false;
        state_ = state::cancelled;
        yield(h, env);
        return true;
    }

    //! For await_resume() and destructors: gives up the place in the line. True: it was granted.
    bool take_grant() noexcept;

    //! For on_stop(): leaves the line and wakes up as cancelled.
    void withdraw() noexcept;

private:
    friend class wait_line;
    enum class state : unsigned char { outside, waiting, granted, cancelled };

    wait_line* line_ = nullptr;  // null: not in a line
    wait_node* prev_ = nullptr;
    wait_node* next_ = nullptr;
    state state_ = state::outside;
};

//! First come, first served. Those who have been granted something stand before those who wait.
class wait_line {
public:
    //! `kind` names the primitive in messages.
    explicit wait_line(const char* kind) noexcept : kind_(kind) {}
    wait_line(const wait_line&) = delete;
    wait_line& operator=(const wait_line&) = delete;
    ~wait_line() {
        if (head_ != nullptr) destroyed_in_use();
    }

    //! The first that waits; null when there is none.
    [[nodiscard]] wait_node* first() const noexcept { return first_waiting_; }
    //! Nobody waits, and nobody has a grant that is not taken yet.
    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }

    //! The coroutine waits at the end of the line.
    void enter(wait_node& n, std::coroutine_handle<> h, const environment& env) noexcept {
        link(n, wait_node::state::waiting);
        if (first_waiting_ == nullptr) first_waiting_ = &n;
        n.wait(h, env);
    }

    //! Grants at once, without suspending. Nobody may be waiting.
    void admit(wait_node& n) noexcept { link(n, wait_node::state::granted); }

    //! Grants to the first that waits, and wakes it.
    void grant_first() noexcept {
        wait_node& n = *first_waiting_;
        first_waiting_ = n.next_;
        n.state_ = wait_node::state::granted;
        n.wake();
    }

    //! Wakes the first that waits, with nothing set aside for it.
    void release_first() noexcept {
        wait_node& n = *first_waiting_;
        leave(n);
        n.wake();
    }
    void release_all() noexcept {
        while (first_waiting_ != nullptr) release_first();
    }

private:
    friend class wait_node;

    void link(wait_node& n, wait_node::state s) noexcept {
        n.line_ = this;
        n.state_ = s;
        n.prev_ = tail_;
        n.next_ = nullptr;
        (tail_ != nullptr ? tail_->next_ : head_) = &n;
        tail_ = &n;
    }

    void leave(wait_node& n) noexcept {
        if (first_waiting_ == &n) first_waiting_ = n.next_;
        (n.prev_ != nullptr ? n.prev_->next_ : head_) = n.next_;
        (n.next_ != nullptr ? n.next_->prev_ : tail_) = n.prev_;
        n.line_ = nullptr;
        n.state_ = wait_node::state::outside;
    }

    //! Ends the program, unless the reactor was abandoned: then the awaiters are let go.
    void destroyed_in_use() noexcept;

    const char* kind_;
    wait_node* head_ = nullptr;
    wait_node* tail_ = nullptr;
    wait_node* first_waiting_ = nullptr;
};

inline wait_node::~wait_node() {
    if (line_ != nullptr) line_->leave(*this);
}

inline bool wait_node::take_grant() noexcept {
    if (state_ != state::granted) return false;
    line_->leave(*this);
    return true;
}

inline void wait_node::withdraw() noexcept {
    if (line_ != nullptr) line_->leave(*this);
    state_ = state::cancelled;
    wake();
}

//! Ends the program because a primitive is destroyed in a state in which it is still needed; does
//! nothing when the reactor of this thread was abandoned.
void destroyed_in_use(const char* kind, const char* what) noexcept;

}  // namespace sluice::detail
