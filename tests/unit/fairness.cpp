// SPDX-License-Identifier: Apache-2.0
// Whatever a coroutine does between two awaits, the others get their turn at each await budget.

#include <chrono>

#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;

namespace {

//! So that a test that has lost ends, and fails.
class patience {
public:
    [[nodiscard]] bool lost() const { return std::chrono::steady_clock::now() > end_; }

private:
    std::chrono::steady_clock::time_point end_ = std::chrono::steady_clock::now() + 20s;
};

task<int> ready() { co_return 1; }
task<result<int>> ready_result() { co_return 1; }

}  // namespace

SLUICE_TEST_CASE("budget: an endless loop of ready awaits starves neither timers nor others") {
    const patience limit;
    bool stop = false;
    bool timer_came = false;
    std::int64_t loops = 0;
    std::int64_t other = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            while (!stop && !limit.lost()) {
                loops += co_await ready();
                static_cast<void>(co_await sluice::this_coro::reactor());
            }
        });
        n.spawn([&]() -> task<> {
            while (!stop && !limit.lost()) {
                ++other;
                co_await yield();
            }
        });
        static_cast<void>(co_await sleep_for(5ms));
        timer_came = true;
        while (other <= 10 && !limit.lost())  // a slow machine has not come that far
            static_cast<void>(co_await sleep_for(5ms));
        stop = true;
    }));
    CHECK_FALSE(limit.lost());
    CHECK(timer_came);
    CHECK(other > 10);
    CHECK(loops > other);  // the budget is more than one
}

SLUICE_TEST_CASE("budget: it is what the options say, to the await") {
    reactor& home = co_await sluice::this_coro::reactor();
    const std::int64_t budget = home.options().await_budget;
    std::int64_t at_most = 0;
    bool stop = false;
    std::int64_t in_a_row = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            while (!stop) {
                static_cast<void>(co_await ready());
                at_most = std::max(at_most, ++in_a_row);
            }
        });
        for (int i = 0; i < 100; ++i) {
            in_a_row = 0;
            co_await yield();
        }
        in_a_row = 0;
        stop = true;
    }));
    CHECK(at_most >= budget);
    CHECK(at_most <= budget + 1);
}

SLUICE_TEST_CASE("budget: with_timeout ends a loop of ready awaits that asks for the stop") {
    const patience limit;
    std::int64_t loops = 0;
    const auto given = co_await with_timeout(5ms, [&]() -> task<result<int>> {
        const auto token = co_await sluice::this_coro::stop_token();
        while (!token.stop_requested() && !limit.lost()) {
            static_cast<void>(co_await ready_result());
            ++loops;
        }
        co_return sluice::cancelled_error();
    }());
    CHECK_FALSE(limit.lost());
    CHECK(loops > 0);
    REQUIRE(given.has_error());
    CHECK(given.error() == sluice::error::timeout);
}

SLUICE_TEST_CASE("budget: a cancelled loop that ignores it starves nobody") {
    const patience limit;
    bool give_in = false;
    std::int64_t rounds = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            while (!give_in && !limit.lost()) {
                static_cast<void>(co_await sleep_for(1s));
                static_cast<void>(co_await with_timeout(1s, sleep_for(1s)));
                ++rounds;
            }
        });
        n.request_stop();
        // This one is cancelled as well; the reactor's other tasks are not.
        reactor& home = co_await sluice::this_coro::reactor();
        home.spawn([&]() -> task<> {
            const auto slept = co_await sleep_for(5ms);
            CHECK(slept.has_value());
            give_in = true;
        });
    }));
    CHECK_FALSE(limit.lost());
    CHECK(rounds > 1);
}

TEST_CASE("abandon: ends run() though a task ignores the stop for ever") {
    const auto stats = sluice::testing::run([](reactor& home) -> task<> {
        for (int i = 0; i < 3; ++i)
            home.spawn([]() -> task<> {
                for (;;) static_cast<void>(co_await sleep_for(1s));
            });
        home.spawn([]() -> task<> {
            static_cast<void>(co_await with_nursery([](nursery& n) -> task<> {
                for (;;) {
                    n.spawn([] { return sleep_for(1s); });
                    static_cast<void>(co_await with_timeout(1h, sleep_for(1s)));
                    static_cast<void>(co_await ready());
                }
            }));
        });
        static_cast<void>(co_await sleep_for(2ms));
        home.request_stop();
        for (int i = 0; i < 100; ++i) co_await yield();
        CHECK_FALSE(home.abandoned());
        home.abandon();
        CHECK(home.abandoned());
    });
    CHECK(stats.tasks_destroyed >= 4);
    CHECK(stats.tasks_destroyed <= 5);  // with the one that called abandon()
}

TEST_CASE("abandon: no coroutine is resumed any more, not even one that was ready") {
    int resumed = 0;
    const auto stats = sluice::testing::run([&](reactor& home) -> task<> {
        home.spawn([&home]() -> task<> {
            home.abandon();
            co_return;
        });
        for (int i = 0; i < 5; ++i)
            home.spawn([&resumed]() -> task<> {
                ++resumed;
                co_return;
            });
        co_return;
    });
    CHECK(resumed == 0);
    CHECK(stats.tasks_destroyed == 5);
}
