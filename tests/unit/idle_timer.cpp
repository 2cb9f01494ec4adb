// SPDX-License-Identifier: Apache-2.0
#include "sluice/idle_timer.hpp"

#include <memory>

#include "support/allocation_count.hpp"
#include "support/child.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::error;
using sluice::idle_timer;
using sluice::nursery;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;

namespace {

bool is(const auto& r, error e) { return r.has_error() && r.error() == e; }

task<result<int>> number_after(std::chrono::nanoseconds d, int n) {
    const auto slept = co_await sleep_for(d);
    if (!slept) co_return slept.error();
    co_return n;
}

}  // namespace

SLUICE_TEST_CASE("idle_timer: results pass through, and its one timer goes with it") {
    reactor& home = co_await sluice::this_coro::reactor();
    {
        idle_timer idle(1h);
        CHECK(home.stats().live_timers == 0);
        for (int i = 0; i < 5; ++i) {
            const auto given = co_await idle.guard(number_after(0s, i));
            CHECK(*given == i);
            CHECK(home.stats().live_timers == 1);
            idle.touch();
        }
        const auto failed = co_await idle.guard([]() -> task<result<int>> {
            co_await yield();
            co_return error::truncated;
        }());
        CHECK(is(failed, error::truncated));
    }
    CHECK(home.stats().live_timers == 0);
}

SLUICE_TEST_CASE("idle_timer: when nothing happens all that is guarded ends") {
    idle_timer idle(2ms);
    const auto began = reactor::clock::now();
    int ended = 0;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 3; ++i)
            n.spawn([&]() -> task<> {
                const auto slept = co_await idle.guard(sleep_for(1h));
                CHECK(is(slept, error::timeout));
                ++ended;
            });
        const auto number = co_await idle.guard(number_after(1h, 1));
        CHECK(is(number, error::timeout));
    });
    CHECK(done.has_value());
    CHECK(ended == 3);
    CHECK(idle.expired());
    CHECK(reactor::clock::now() - began >= 2ms);
}

SLUICE_TEST_CASE("idle_timer: touching puts the end off, and sets no timer") {
    reactor& home = co_await sluice::this_coro::reactor();
    idle_timer idle(200ms);
    bool over = false;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto began = reactor::clock::now();
            const auto slept = co_await idle.guard(sleep_for(1h));
            CHECK(is(slept, error::timeout));
            CHECK(reactor::clock::now() - began >= 400ms);
            over = true;
        });
        const auto until = reactor::clock::now() + 200ms;
        while (reactor::clock::now() < until) {
            const auto slept = co_await sleep_for(5ms);
            CHECK(slept.has_value());
            if (over) break;  // the machine was busy for as long as the limit
            const auto timers = home.stats().live_timers;
            idle.touch();
            CHECK(home.stats().live_timers == timers);
        }
    });
    CHECK(done.has_value());
}

SLUICE_TEST_CASE("idle_timer: expired, it starts nothing until it is touched") {
    idle_timer idle(1ms);
    const auto first = co_await idle.guard(sleep_for(1h));
    CHECK(is(first, error::timeout));
    bool started = false;
    const auto starts = [&]() -> task<result<void>> {
        started = true;
        co_return result<void>{};
    };
    for (int i = 0; i < 200; ++i) {  // more than the budget of awaits
        const auto refused = co_await idle.guard(starts());
        CHECK(is(refused, error::timeout));
    }
    CHECK_FALSE(started);
    idle.touch();
    CHECK_FALSE(idle.expired());
    const auto again = co_await idle.guard(starts());
    CHECK(again.has_value());
    CHECK(started);
    const auto once_more = co_await idle.guard(sleep_for(1h));
    CHECK(is(once_more, error::timeout));
}

SLUICE_TEST_CASE("idle_timer: it runs between guards too") {
    idle_timer idle(1ms);
    const auto first = co_await idle.guard(sleep_for(0s));
    CHECK(first.has_value());
    const auto slept = co_await sleep_for(20ms);
    CHECK(slept.has_value());
    CHECK(idle.expired());
    const auto late = co_await idle.guard(sleep_for(0s));
    CHECK(is(late, error::timeout));
}

SLUICE_TEST_CASE("idle_timer: a stop outside, before and in flight, is ECANCELED") {
    idle_timer idle(1h);
    for (const bool before : {true, false}) {
        int ended = 0;
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            if (before) n.request_stop();
            n.spawn([&]() -> task<> {
                const auto slept = co_await idle.guard(sleep_for(1h));
                CHECK(slept.error() == cancelled_error());
                const auto number = co_await idle.guard(number_after(1h, 1));
                CHECK(number.error() == cancelled_error());
                ++ended;
            });
            co_await yield();
            co_await yield();
            n.request_stop();
        });
        CHECK(done.has_value());
        CHECK(ended == 1);
    }
    const auto timed = co_await with_timeout(1ms, idle.guard(sleep_for(1h)));
    CHECK(is(timed, error::timeout));
    CHECK_FALSE(idle.expired());
}

SLUICE_TEST_CASE("idle_timer: a value that comes in spite of the stop wins") {
    idle_timer idle(1ms);
    const auto given = co_await idle.guard([]() -> task<result<int>> {
        static_cast<void>(co_await sleep_for(1h));
        co_return 4;
    }());
    REQUIRE(given.has_value());
    CHECK(*given == 4);
    CHECK(idle.expired());
}

SLUICE_TEST_CASE("idle_timer: guarding allocates nothing and takes no SQE") {
    reactor& home = co_await sluice::this_coro::reactor();
    idle_timer idle(1h);
    static_cast<void>(co_await idle.guard(sleep_for(0s)));
    const auto before = home.stats();
    const auto allocated = sluice::testing::allocations();
    for (int i = 0; i < 100; ++i) {
        static_cast<void>(co_await idle.guard(sleep_for(0s)));
        idle.touch();
    }
    CHECK(sluice::testing::allocations() == allocated);
    CHECK(home.stats().sqes == before.sqes);
    CHECK(home.stats().live_frames == before.live_frames);
}

TEST_CASE("idle_timer: destroying it while it guards an await ends the program") {
    sluice::testing::expect_death(
        [] {
            sluice::testing::run([]() -> task<> {
                auto idle = std::make_unique<idle_timer>(1h);
                static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
                    n.spawn([&]() -> task<> {
                        static_cast<void>(co_await idle->guard(sleep_for(1h)));
                    });
                    co_await yield();
                    co_await yield();
                    idle.reset();
                }));
            });
        },
        "sluice: fatal: an idle_timer of reactor 0 was destroyed while it guards an await");
}
