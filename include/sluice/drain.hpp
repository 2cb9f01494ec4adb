// SPDX-License-Identifier: Apache-2.0
//! Who wants to know that a service has begun to stop.
#pragma once

namespace sluice::detail {

//! Told once when its reactor begins to drain. Unlinks itself when it is destroyed.
class drain_listener {
public:
    drain_listener() = default;
    drain_listener(const drain_listener&) = delete;
    drain_listener& operator=(const drain_listener&) = delete;

    //! It must not resume a coroutine.
    virtual void on_drain() noexcept = 0;

protected:
    ~drain_listener() { unlink(); }

    //! It wants to know no more. Harmless when it was told, or is not in a list.
    void unlink() noexcept {
        prev_->next_ = next_;
        next_->prev_ = prev_;
        prev_ = next_ = this;
    }

private:
    friend class drain_list;
    drain_listener* prev_ = this;
    drain_listener* next_ = this;
};

class drain_list {
public:
    void add(drain_listener& l) noexcept {
        l.prev_ = &head_;
        l.next_ = head_.next_;
        head_.next_->prev_ = &l;
        head_.next_ = &l;
    }

    void notify_all() noexcept {
        while (head_.next_ != &head_) {
            drain_listener& l = *head_.next_;
            l.unlink();
            l.on_drain();
        }
    }

private:
    struct sentinel final : drain_listener {
        void on_drain() noexcept override {}
    };
    sentinel head_;
};

}  // namespace sluice::detail
