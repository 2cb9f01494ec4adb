// SPDX-License-Identifier: Apache-2.0
#include "sluice/timeout.hpp"

#include "sluice/task_dump.hpp"

namespace sluice::detail {

std::int64_t deadline_after(reactor& home, std::chrono::nanoseconds d) noexcept {
    const std::int64_t now = nanoseconds_of(home.now());
    if (d.count() > timer_set::never - now) return timer_set::never;
    return now + (d.count() > 0 ? d.count() : 0);
}

bool sleep_awaiter::await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
    if (env.stop.stop_requested()) {
        cancelled_ = true;
        yield(h, env);
        return true;
    }
    wait(h, env);
    // The turn may have begun long ago, and a sleep must not be shorter than asked for.
    if (!absolute_) env.home.update_time();
    env.home.timers().insert(
        *this, absolute_ ? time_ : deadline_after(env.home, std::chrono::nanoseconds{time_}));
    return true;
}

void describe_limit(await_description& into, const timer_node& timer, awaited_ref inside) {
    into.inside(inside);
    if (timer.armed())
        into.until(timer.deadline());
    else
        into.say("that was cancelled: ");
}

void sleep_awaiter::describe(await_description& into) const {
    into.say("sleep");
    if (armed()) into.until(deadline());
}

void sleep_awaiter::on_stop() noexcept {
    env().home.timers().cancel(*this);
    cancelled_ = true;
    wake();
}

}  // namespace sluice::detail
