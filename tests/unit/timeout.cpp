// SPDX-License-Identifier: Apache-2.0
#include "sluice/timeout.hpp"

#include <chrono>
#include <limits>
#include <memory>
#include <stdexcept>
#include <vector>

#include "support/allocation_count.hpp"
#include "support/child.hpp"
#include "support/run.hpp"
#include "support/sanitizers.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::error;
using sluice::nursery;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::sleep_until;
using sluice::task;
using sluice::with_deadline;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;

namespace {

using clock_type = reactor::clock;
using std::chrono::nanoseconds;

task<result<int>> number_after(nanoseconds d, int n) {
    const auto slept = co_await sleep_for(d);
    if (!slept) co_return slept.error();
    co_return n;
}

//! Gives a value a while after it was cancelled.
task<result<int>> stubborn(int yields, int n) {
    static_cast<void>(co_await sleep_for(1h));
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return n;
}

task<result<int>> fails_with(error e) {
    co_await yield();
    co_return e;
}

task<result<std::unique_ptr<int>>> pointer_after(nanoseconds d) {
    static_cast<void>(co_await sleep_for(d));
    co_return std::make_unique<int>(5);
}

bool is(const auto& r, error e) { return r.has_error() && r.error() == e; }
bool is_cancelled(const auto& r) { return r.has_error() && r.error() == cancelled_error(); }

}  // namespace

SLUICE_TEST_CASE("sleep_for: ends after the time, not before, and in the order of the deadlines") {
    const auto began = clock_type::now();
    const auto slept = co_await sleep_for(5ms);
    CHECK(slept.has_value());
    CHECK(clock_type::now() - began >= 5ms);
    CHECK(clock_type::now() - began < 5s);

    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (const int ms : {90, 30, 60})
            n.spawn([&order, ms]() -> task<> {
                static_cast<void>(co_await sleep_for(std::chrono::milliseconds(ms)));
                order.push_back(ms);
            });
        co_return;
    }));
    CHECK(order == std::vector{30, 60, 90});
}

SLUICE_TEST_CASE("sleep_for: the time counts from the call, however long the turn has been") {
    const auto computed = clock_type::now() + 20ms;
    while (clock_type::now() < computed) {}
    const auto began = clock_type::now();
    static_cast<void>(co_await sleep_for(10ms));
    CHECK(clock_type::now() - began >= 10ms);
}

SLUICE_TEST_CASE("sleep_for: 0, negative and least durations end at the next turn") {
    reactor& home = co_await sluice::this_coro::reactor();
    for (const nanoseconds d : {0ns, -1ns, nanoseconds(-1h), nanoseconds::min(), 1ns}) {
        CAPTURE(d.count());
        const auto before = home.stats();
        const auto slept = co_await sleep_for(d);
        CHECK(slept.has_value());
        const auto after = home.stats();
        CHECK(after.turns > before.turns);
        CHECK(after.turns <= before.turns + 3);
        CHECK(after.timers_expired == before.timers_expired + 1);
    }
}

SLUICE_TEST_CASE("sleep_for: the longest duration sleeps until it is cancelled") {
    for (const nanoseconds d : {nanoseconds::max(), nanoseconds::max() - 1ns, nanoseconds(24h)}) {
        CAPTURE(d.count());
        const auto done = co_await with_nursery([d](nursery& n) -> task<> {
            n.spawn([d] { return sleep_for(d); });
            static_cast<void>(co_await sleep_for(1ms));
            CHECK(n.children() == 2);
            n.request_stop();
        });
        CHECK(is_cancelled(done));
    }
}

SLUICE_TEST_CASE("sleep_until: a time of the clock, past and future") {
    reactor& home = co_await sluice::this_coro::reactor();
    const auto goal = clock_type::now() + 3ms;
    const auto slept = co_await sleep_until(goal);
    CHECK(slept.has_value());
    CHECK(clock_type::now() >= goal);
    CHECK(home.now() >= goal);
    const auto before = home.stats().turns;
    for (const auto t : {clock_type::time_point{}, clock_type::time_point::min(), goal}) {
        const auto past = co_await sleep_until(t);
        CHECK(past.has_value());
    }
    CHECK(home.stats().turns <= before + 10);
    const auto done = co_await with_timeout(1ms, sleep_until(clock_type::time_point::max()));
    CHECK(is(done, error::timeout));
}

SLUICE_TEST_CASE("sleep_for: started under a stop it gives ECANCELED, and sets no timer") {
    reactor& home = co_await sluice::this_coro::reactor();
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        const auto slept = co_await sleep_for(1h);
        CHECK(is_cancelled(slept));
        CHECK(home.stats().live_timers == 0);
        const auto again = co_await sleep_until(clock_type::now() + 1h);
        CHECK(is_cancelled(again));
    }));
}

SLUICE_TEST_CASE("sleep_for: cancelled in flight, in the turn in which it is due too") {
    // Both timers expire in one turn; the stop comes from a coroutine that runs first.
    for (int round = 0; round < 20; ++round) {
        int ended = 0;
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            const auto goal = clock_type::now() + 200us;
            n.spawn([&n, goal]() -> task<> {
                static_cast<void>(co_await sleep_until(goal));
                n.request_stop();
            });
            for (int i = 0; i < 3; ++i)
                n.spawn([&ended, goal]() -> task<> {
                    const auto slept = co_await sleep_until(goal);
                    CHECK((slept.has_value() || is_cancelled(slept)));
                    ++ended;
                });
            co_return;
        }));
        CHECK(ended == 3);
    }
}

SLUICE_TEST_CASE("with_timeout: a value that is there first wins, and the timer goes") {
    reactor& home = co_await sluice::this_coro::reactor();
    const auto given = co_await with_timeout(1h, number_after(1ms, 7));
    REQUIRE(given.has_value());
    CHECK(*given == 7);
    CHECK(home.stats().live_timers == 0);
    const auto slept = co_await with_timeout(1h, sleep_for(0s));
    CHECK(slept.has_value());
    CHECK(home.stats().live_timers == 0);
    const auto boxed = co_await with_timeout(1h, pointer_after(0s));
    REQUIRE(boxed.has_value());
    CHECK(**boxed == 5);
}

SLUICE_TEST_CASE("with_timeout: the time comes first") {
    reactor& home = *reactor::current();
    const auto began = home.now();  // from which the time counts
    const auto number = co_await with_timeout(2ms, number_after(1h, 7));
    CHECK(is(number, error::timeout));
    CHECK(home.now() - began >= 2ms);
    CHECK(home.now() - began < 30min);
    const auto slept = co_await with_timeout(1ms, sleep_for(1h));
    CHECK(is(slept, error::timeout));
    const auto until = co_await with_deadline(clock_type::now() + 1ms, sleep_for(1h));
    CHECK(is(until, error::timeout));
}

SLUICE_TEST_CASE("with_timeout: other errors stay what they are") {
    const auto failed = co_await with_timeout(1h, fails_with(error::broken_send));
    CHECK(is(failed, error::broken_send));
    // Also when the time is over meanwhile: the error is not the timeout's work.
    const auto late = co_await with_timeout(0s, []() -> task<result<int>> {
        static_cast<void>(co_await sleep_for(1h));
        co_return error::truncated;
    }());
    CHECK(is(late, error::truncated));
}

SLUICE_TEST_CASE("with_timeout: exceptions pass through, and the timer goes") {
    reactor& home = co_await sluice::this_coro::reactor();
    for (const nanoseconds limit : {nanoseconds(1h), 0ns}) {
        bool caught = false;
        try {
            static_cast<void>(co_await with_timeout(limit, []() -> task<result<int>> {
                static_cast<void>(co_await sleep_for(1ms));
                throw std::runtime_error("thrown");
            }()));
        } catch (const std::runtime_error&) {
            caught = true;
        }
        CHECK(caught);
        CHECK(home.stats().live_timers == 0);
    }
}

SLUICE_TEST_CASE("with_timeout: 0, negative and least durations: at the next turn") {
    for (const nanoseconds d : {0ns, -1ns, nanoseconds(-1h), nanoseconds::min()}) {
        CAPTURE(d.count());
        const auto slept = co_await with_timeout(d, sleep_for(1h));
        CHECK(is(slept, error::timeout));
        // What is there at once is first.
        const auto at_once = co_await with_timeout(d, []() -> task<result<int>> { co_return 1; }());
        CHECK(at_once.has_value());
    }
    const auto past = co_await with_deadline(clock_type::time_point::min(), sleep_for(1h));
    CHECK(is(past, error::timeout));
}

SLUICE_TEST_CASE("with_timeout: the longest durations never come") {
    for (const nanoseconds d : {nanoseconds::max(), nanoseconds::max() - 1ns}) {
        const auto given = co_await with_timeout(d, number_after(1ms, 3));
        CHECK(given.has_value());
    }
    const auto until = co_await with_deadline(clock_type::time_point::max(), number_after(1ms, 3));
    CHECK(until.has_value());
}

SLUICE_TEST_CASE("with_timeout: a task that ignores the stop for a while: its value wins") {
    const auto given = co_await with_timeout(1ms, stubborn(10, 42));
    REQUIRE(given.has_value());
    CHECK(*given == 42);
}

SLUICE_TEST_CASE("with_timeout: the stop of the chain outside gives ECANCELED") {
    for (const bool of_task : {false, true}) {
        const auto done = co_await with_nursery([of_task](nursery& n) -> task<> {
            n.spawn([of_task]() -> task<result<void>> {
                if (of_task) {
                    const auto given = co_await with_timeout(1h, number_after(1h, 1));
                    if (!given) co_return given.error();
                    co_return result<void>{};
                }
                co_return co_await with_timeout(1h, sleep_for(1h));
            });
            co_await yield();
            co_await yield();
            n.request_stop();
        });
        CHECK(is_cancelled(done));
    }
}

SLUICE_TEST_CASE("with_timeout: entered under a stop it gives ECANCELED, not timeout") {
    reactor& home = co_await sluice::this_coro::reactor();
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        const auto primitive = co_await with_timeout(1h, sleep_for(1h));
        CHECK(is_cancelled(primitive));
        const auto passed = co_await with_timeout(-1s, sleep_for(1h));
        CHECK(is_cancelled(passed));
        const auto of_task = co_await with_timeout(1h, number_after(1h, 1));
        CHECK(is_cancelled(of_task));
        const auto value = co_await with_timeout(0s, stubborn(3, 4));
        CHECK(value.has_value());
        CHECK(home.stats().live_timers == 0);
    }));
}

SLUICE_TEST_CASE("with_timeout: of what a function makes, in its place") {
    reactor& home = co_await sluice::this_coro::reactor();
    int made = 0;
    const auto sleeps = [&](nanoseconds d) {
        return [&made, d] {
            ++made;
            return sleep_for(d);
        };
    };
    auto first = co_await with_timeout(1h, sleeps(0ns));
    CHECK(first.has_value());
    auto second = co_await with_timeout(1ms, sleeps(1h));
    CHECK(is(second, error::timeout));
    auto third = co_await with_deadline(clock_type::now(), [] { return number_after(1h, 1); });
    CHECK(is(third, error::timeout));
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        auto cancelled = co_await with_timeout(1h, sleeps(1h));
        CHECK(is_cancelled(cancelled));
    }));
    CHECK(made == 3);
    CHECK(home.stats().live_timers == 0);
}

SLUICE_TEST_CASE("with_timeout: nested, the shorter one counts") {
    const auto inner = co_await with_timeout(1h, with_timeout(1ms, sleep_for(1h)));
    CHECK(is(inner, error::timeout));
    const auto outer = co_await with_timeout(1ms, with_timeout(1h, sleep_for(1h)));
    CHECK(is(outer, error::timeout));
    const auto same = co_await with_deadline(clock_type::now() + 1ms,
                                             with_deadline(clock_type::now() + 1ms, sleep_for(1h)));
    CHECK(is(same, error::timeout));
    const auto neither =
        co_await with_timeout(1h, with_timeout(1h, with_timeout(1h, sleep_for(0s))));
    CHECK(neither.has_value());
}

SLUICE_TEST_CASE("with_timeout: inside a task inside with_timeout, who timed out is told apart") {
    bool inner_timed_out = false;
    bool inner_cancelled = false;
    const auto body = [&](nanoseconds limit) -> task<result<int>> {
        const auto slept = co_await with_timeout(limit, sleep_for(1h));
        inner_timed_out = is(slept, error::timeout);
        inner_cancelled = is_cancelled(slept);
        if (inner_timed_out) co_return 1;
        co_return slept.error();
    };
    const auto first = co_await with_timeout(1h, body(1ms));
    CHECK(first.has_value());
    CHECK(inner_timed_out);
    const auto second = co_await with_timeout(1ms, body(1h));
    CHECK(is(second, error::timeout));
    CHECK(inner_cancelled);
}

SLUICE_TEST_CASE("with_timeout: after the time every later await of the task is cancelled too") {
    int cancelled = 0;
    const auto given = co_await with_timeout(1ms, [&]() -> task<result<int>> {
        for (int i = 0; i < 5; ++i) {
            const auto slept = co_await sleep_for(1h);
            cancelled += is_cancelled(slept) ? 1 : 0;
        }
        co_return 5;
    }());
    CHECK(given.has_value());
    CHECK(cancelled == 5);
    // And the chain outside is not.
    const auto slept = co_await sleep_for(1ms);
    CHECK(slept.has_value());
}

SLUICE_TEST_CASE("with_timeout: around a primitive it allocates nothing and takes no SQE") {
    reactor& home = co_await sluice::this_coro::reactor();
    static_cast<void>(co_await with_timeout(1h, sleep_for(0s)));
    const auto before = home.stats();
    const auto allocated = sluice::testing::allocations();
    std::int64_t most_frames = 0;
    for (int i = 0; i < 100; ++i) {
        auto limited = with_timeout(1h, sleep_for(0s));
        static_cast<void>(co_await limited);
        most_frames = std::max(most_frames, home.stats().live_frames);
    }
    for (int i = 0; i < 10; ++i) static_cast<void>(co_await with_timeout(0s, sleep_for(1h)));
    CHECK(sluice::testing::allocations() == allocated);
    CHECK(most_frames == before.live_frames);
    CHECK(home.stats().sqes == before.sqes);
}

TEST_CASE("an awaiter that is destroyed while a coroutine waits in it ends the program") {
    sluice::testing::expect_death(
        [] {
            sluice::testing::run([](reactor& home) -> task<> {
                sluice::stop_source stop;
                const sluice::environment env{home, stop};
                // What a coroutine type of another library might do: start a task and drop it.
                auto waiting = []() -> task<> { static_cast<void>(co_await sleep_for(1h)); }();
                CHECK(waiting.await_suspend(std::noop_coroutine(), env));
                co_return;
            });
        },
        "sluice: fatal: a coroutine that waits in an operation was destroyed");
}
