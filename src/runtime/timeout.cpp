// SPDX-License-Identifier: Apache-2.0
#include "sluice/timeout.hpp"

#include "sluice/task_dump.hpp"

namespace sluice::detail {

bool sleep_awaiter::await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
    if (env.stop.stop_requested()) {
        cancelled_ = true;
        yield(h, env);
        return true;
    }
    wait(h, env);
    // The turn may have begun long ago, and a sleep must not be shorter than asked for.
    if (is_relative()) env.home.update_time();
    arm(env.home);
    return true;
}

void describe_limit(await_description& into, const timer_node& timer, awaited_ref inside) {
    into.inside(inside);
    if (timer.armed())
        into.until(timer.deadline());
    else
        into.say(", cancelled");
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
