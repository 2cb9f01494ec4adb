// SPDX-License-Identifier: Apache-2.0
#include "sluice/nursery.hpp"

#include <spdlog/fmt/fmt.h>

#include <stdexcept>

#include "runtime/fatal.hpp"
#include "runtime/home_check.hpp"
#include "sluice/task_dump.hpp"

namespace sluice {

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
    home_.queue().make_ready(c);
}

void nursery::child_ended(child& c) noexcept {
    c.prev->next = c.next;
    c.next->prev = c.prev;
    --children_;
    const auto self = std::coroutine_handle<child>::from_promise(c);
    if (c.error_.failed() || c.exception_) {
        const failure ended{c.error_, std::move(c.exception_)};
        self.destroy();
        note_failure(ended);
    } else {
        self.destroy();
    }
    if (line_.next == &line_)
        --places_;
    else
        give_place_back();  // to the next in line
    // The queue has resumed this child, so a chain ends here: nothing else goes on before the next
    // one is taken.
    if (!busy()) wake_joiners(home_.queue().running() == self);
}

void nursery::note_failure(const failure& f) noexcept {
    failure_log& log = options_.failures != nullptr ? *options_.failures : own_log_;
    if (stopping_ && !f.exception && f.error == cancelled_error()) {
        any_cancelled_ = true;
        log.add_cancelled();
        return;
    }
    log.add(f);
    const bool first = failures_++ == 0;
    if (f.exception && !first_exception_) first_exception_ = f.exception;
    if (!f.exception && !first_error_) first_error_ = f.error;
    const bool cancels = options_.policy == on_failure::cancel_all;
    // outcome() gives one of them to the caller; nobody may ever look at the others.
    if (!(cancels && (first || options_.failures != nullptr))) detail::report_failure(home_, f);
    if (cancels) request_stop();
}

// As the end of a task goes on with the one that awaits it, that of a child does with one of those
// that await the nursery.
void nursery::wake_joiners(bool chain_ends) noexcept {
    while (joiners_ != nullptr) {
        joined& j = *joiners_;
        joiners_ = j.next_;
        if (std::exchange(chain_ends, false))
            j.wake_next();
        else
            j.wake();
    }
}

bool nursery::joined::await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
    detail::check_home(scope_.home_, "a nursery");
    if (env.stop.stop_requested()) scope_.request_stop();
    if (!scope_.busy()) return false;
    next_ = std::exchange(scope_.joiners_, this);
    wait(h, env);
    return true;
}

void nursery::joined::on_stop() noexcept { scope_.request_stop(); }

// --- the function of with_nursery()

void nursery::function_base::begin(const environment& outer, detail::awaited_ref inner) noexcept {
    outer_ = &outer;
    awaited_ = inner;
    scope_.function_ = this;
    ++scope_.children_;
    if (outer.stop.stop_requested()) scope_.request_stop();
    if (scope_.stopping_) stop_.request_stop();
    outer.stop.listen(*this);
}

void nursery::function_base::end() noexcept {
    outer_->stop.forget(*this);
    scope_.function_ = nullptr;
    --scope_.children_;
    if (!scope_.busy()) scope_.wake_joiners(false);
}

void nursery::function_base::describe(await_description& into) const {
    into.say(fmt::format("the {} children of a nursery", scope_.children()));
    into.child(awaited_);
    into.scope(scope_);
}

// --- the bound on children

void nursery::take_place() {
    detail::check_home(home_, "a nursery");
    if (!has_room()) throw std::length_error("sluice: a nursery has max_children already");
    ++places_;
}

void nursery::give_place_back() noexcept {
    if (line_.next == &line_) {
        --places_;
        if (!busy()) wake_joiners(false);
        return;
    }
    auto& next = static_cast<room_waiter&>(*line_.next);  // the place is promised to it
    next.leave_line();
    next.wake();
}

bool nursery::room_waiter::await_suspend(std::coroutine_handle<> h,
                                         const environment& env) noexcept {
    detail::check_home(scope_.home_, "a nursery");
    if (env.stop.stop_requested()) {
        cancelled_ = true;
        yield(h, env);
        return true;
    }
    if (scope_.has_room()) {
        ++scope_.places_;
        return false;
    }
    child_link& line = scope_.line_;
    prev = line.prev;
    next = &line;
    line.prev->next = this;
    line.prev = this;
    wait(h, env);
    return true;
}

void nursery::room_waiter::leave_line() noexcept {
    prev->next = next;
    next->prev = prev;
    prev = next = this;
}

void nursery::room_waiter::on_stop() noexcept {
    leave_line();
    cancelled_ = true;
    wake();
}

void nursery::request_stop() noexcept {
    detail::check_home(home_, "a nursery");
    if (std::exchange(stopping_, true)) return;
    // A stop does not resume anyone, so no child can leave the list meanwhile.
    for (detail::child_link* l = list_.next; l != &list_; l = l->next)
        child_of(*l).stop_.request_stop();
    if (function_ != nullptr) function_->stop_.request_stop();
}

result<void> nursery::outcome() {
    if (options_.policy == on_failure::collect) return {};
    if (first_exception_) std::rethrow_exception(std::move(first_exception_));
    if (first_error_) return first_error_;
    if (any_cancelled_) return cancelled_error();
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
        std::coroutine_handle<child>::from_promise(c).destroy();
    }
    return destroyed;
}

}  // namespace sluice
