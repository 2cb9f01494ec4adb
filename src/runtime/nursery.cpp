// SPDX-License-Identifier: Apache-2.0
#include "sluice/nursery.hpp"

#include <spdlog/spdlog.h>

#include "runtime/fatal.hpp"
#include "sluice/log.hpp"
#include "sluice/task_dump.hpp"

namespace sluice {

namespace {

void log_failure(const reactor& home, const boost::system::error_code& error,
                 const std::exception_ptr& exception) noexcept {
    if (!exception) {
        // A cancelled or disconnected task is everyday business.
        logger()->debug("reactor {}: a task ended with: {}", home.index(), error.message());
        return;
    }
    try {
        std::rethrow_exception(exception);
    } catch (const std::exception& e) {
        logger()->error("reactor {}: a task ended with an exception: {}", home.index(), e.what());
    } catch (...) {
        logger()->error("reactor {}: a task ended with an exception of an unknown type",
                        home.index());
    }
}

}  // namespace

namespace detail {
void child_task::promise_type::ended() noexcept { scope_.child_ended(*this); }
}  // namespace detail

nursery::~nursery() {
    if (children_ != 0) {
        if (!home_.abandoned())
            detail::fatal("a nursery was destroyed with %zu children running", children_);
        destroy_children();
    }
}

void nursery::add(child& c) noexcept {
    c.prev = &list_;
    c.next = list_.next;
    list_.next->prev = &c;
    list_.next = &c;
    ++children_;
    if (stopping_) c.stop_.request_stop();
    c.start_.handle = std::coroutine_handle<child>::from_promise(c);
    home_.queue().make_ready(c.start_);
}

void nursery::child_ended(child& c) noexcept {
    c.prev->next = c.next;
    c.next->prev = c.prev;
    --children_;
    const auto exception = std::move(c.exception_);
    const auto error = c.error_;
    std::coroutine_handle<child>::from_promise(c).destroy();
    if (exception || error) {
        ++failures_;
        if (exception && !first_exception_) first_exception_ = exception;
        if (error && !first_error_) first_error_ = error;
        if (options_.policy == on_failure::cancel_all) {
            request_stop();
        } else {
            home_.count_task_failure();
            log_failure(home_, error, exception);
        }
    }
    if (children_ == 0 && joiner_ != nullptr && joiner_->waiting()) joiner_->wake();
}

void nursery::request_stop() noexcept {
    if (std::exchange(stopping_, true)) return;
    // A stop does not resume anyone, so no child can leave the list meanwhile.
    for (detail::child_link* l = list_.next; l != &list_; l = l->next)
        child_of(*l).stop_.request_stop();
}

result<void> nursery::outcome() {
    if (options_.policy == on_failure::collect) return {};
    if (first_exception_) std::rethrow_exception(std::move(first_exception_));
    if (first_error_) return first_error_;
    return {};
}

void nursery::joined::describe(await_description& into) const {
    into.say(fmt::format("the {} children of a nursery", scope_.children()));
    into.scope(scope_);
}

std::size_t nursery::destroy_children() noexcept {
    std::size_t destroyed = 0;
    while (list_.next != &list_) {
        child& c = child_of(*list_.next);
        c.prev->next = c.next;
        c.next->prev = c.prev;
        --children_;
        ++destroyed;
        if (c.start_.queued) home_.queue().remove(c.start_);
        std::coroutine_handle<child>::from_promise(c).destroy();
    }
    return destroyed;
}

}  // namespace sluice
