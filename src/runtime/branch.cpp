// SPDX-License-Identifier: Apache-2.0
#include "sluice/branch.hpp"

#include "sluice/failure.hpp"
#include "sluice/task_dump.hpp"

namespace sluice::detail {

fork::~fork() {
    if (running_ != 0) outer_->stop.forget(*this);  // only on a reactor that was abandoned
    while (head_ != nullptr) {
        branch_base& b = *head_;
        head_ = b.next_;
        b.frame_.destroy();
    }
}

void fork::begin(std::coroutine_handle<> parent, const environment& outer) noexcept {
    parent_ = parent;
    outer_ = &outer;
}

void fork::link(branch_base& b, std::coroutine_handle<> frame) noexcept {
    b.frame_ = frame;
    b.index_ = count_++;
    (tail_ != nullptr ? tail_->next_ : head_) = &b;
    tail_ = &b;
}

bool fork::start() {
    if (outer_->stop.stop_requested()) stop_all();
    outer_->stop.listen(*this);
    starting_ = true;
    for (branch_base* b = head_; b != nullptr && !decided(); b = b->next_) {
        ++running_;
        b->frame_.resume();
    }
    starting_ = false;
    if (running_ == 0) outer_->stop.forget(*this);
    return running_ != 0;
}

void fork::ended(branch_base& b) noexcept {
    --running_;
    if (first_ == nullptr) first_ = &b;
    if (b.exception_) {
        b.failed_ = true;
        // The awaiting coroutine is thrown one of them.
        const bool is_given = mode_ == ends::with_first ? first_ == &b : thrown_ == nullptr;
        if (is_given)
            thrown_ = &b;
        else
            report_failure(home(), failure{{}, b.exception_});
    }
    if (mode_ == ends::with_first || b.failed_) stop_all();
    if (running_ != 0 || starting_) return;
    outer_->stop.forget(*this);
    home().queue().continue_with(parent_);
}

void fork::stop_all() noexcept {
    for (branch_base* b = head_; b != nullptr; b = b->next_) b->stop_.request_stop();
}

void fork::describe(await_description& into) const {
    into.say("branches");
    for (const branch_base* b = head_; b != nullptr; b = b->next_)
        into.child(awaited_ref::child(*b));
}

}  // namespace sluice::detail
