// SPDX-License-Identifier: Apache-2.0
//! All nurseries of a reactor, so that what lives in members of objects is seen by task dumps too.
#pragma once

namespace sluice::detail {

class nursery_list;

//! Base of nursery: in the list of its reactor as long as it lives.
class nursery_node {
public:
    nursery_node(const nursery_node&) = delete;
    nursery_node& operator=(const nursery_node&) = delete;

protected:
    explicit nursery_node(nursery_list& list) noexcept;
    ~nursery_node() {
        prev_->next_ = next_;
        next_->prev_ = prev_;
    }

    nursery_node() noexcept : prev_(this), next_(this) {}  // the head of a list

private:
    friend class nursery_list;
    nursery_node* prev_;
    nursery_node* next_;
};

class nursery_list {
public:
    //! Calls `fn(const nursery_node&)` for each, the oldest first.
    template <class F>
    void for_each(F fn) const {
        for (const nursery_node* n = head_.next_; n != &head_; n = n->next_) fn(*n);
    }

private:
    friend class nursery_node;
    struct sentinel final : nursery_node {};
    sentinel head_;
};

inline nursery_node::nursery_node(nursery_list& list) noexcept
    : prev_(list.head_.prev_), next_(&list.head_) {
    prev_->next_ = this;
    next_->prev_ = this;
}

}  // namespace sluice::detail
