// SPDX-License-Identifier: Apache-2.0
#include "sluice/shielded.hpp"

#include <memory>
#include <stdexcept>

#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::nursery;
using sluice::result;
using sluice::shielded;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;

namespace {

task<result<int>> takes_a_while(int n) {
    const auto token = co_await sluice::this_coro::stop_token();
    CHECK_FALSE(token.stop_requested());
    for (int i = 0; i < 3; ++i) {
        const auto slept = co_await sleep_for(100us);
        if (!slept) co_return slept.error();
    }
    CHECK_FALSE(token.stop_requested());
    co_return n;
}

}  // namespace

SLUICE_TEST_CASE("shielded: without a stop it is what it wraps") {
    const auto slept = co_await shielded(sleep_for(0s));
    CHECK(slept.has_value());
    const auto given = co_await shielded(takes_a_while(7));
    CHECK(*given == 7);
    auto boxed = co_await shielded(
        []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); }());
    CHECK(*boxed == 3);
    bool thrown = false;
    auto throws = []() -> task<> {
        co_await yield();
        throw std::runtime_error("through the shield");
    };
    try {
        co_await shielded(throws());
    } catch (const std::runtime_error&) {
        thrown = true;
    }
    CHECK(thrown);
}

SLUICE_TEST_CASE("shielded: a stop that came before, and one in flight, do not reach it") {
    for (const bool before : {true, false}) {
        bool reached_end = false;
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            if (before) n.request_stop();
            n.spawn([&]() -> task<> {
                const auto slept = co_await shielded(sleep_for(1ms));
                CHECK(slept.has_value());
                const auto given = co_await shielded(takes_a_while(7));
                CHECK(*given == 7);
                const auto yielded = co_await sleep_for(1h);  // and this one is stopped
                CHECK(yielded.error() == cancelled_error());
                reached_end = true;
            });
            co_await yield();
            co_await yield();
            n.request_stop();
        });
        CHECK(done.has_value());
        CHECK(reached_end);
    }
}

SLUICE_TEST_CASE("shielded: a limit in time goes inside; outside it can't reach in") {
    const auto inside = co_await shielded(with_timeout(1ms, sleep_for(1h)));
    CHECK(inside.error() == sluice::error::timeout);
    const auto outside = co_await with_timeout(0s, shielded(takes_a_while(7)));
    CHECK(*outside == 7);
}

SLUICE_TEST_CASE("shielded: under a stop an operation that is ready at once gives what it has") {
    struct ready_once {
        bool await_ready() const { return true; }
        bool await_suspend(std::coroutine_handle<>, const sluice::environment&) {
            FAIL("there was nothing to wait for");
            return false;
        }
        int await_resume() const { return 5; }
    };
    const auto done = co_await with_nursery([](nursery& n) -> task<> {
        n.request_stop();
        const int given = co_await shielded(ready_once{});
        CHECK(given == 5);
    });
    CHECK(done.has_value());
}

TEST_CASE("shielded: the hard end of a reactor holds") {
    const auto home = sluice::testing::make_reactor();
    bool passed = false;
    home->spawn([&]() -> task<> {
        static_cast<void>(co_await shielded(sleep_for(1h)));
        passed = true;
    });
    home->spawn([&]() -> task<> {
        co_await yield();
        home->request_stop();
        for (int i = 0; i < 3; ++i) co_await yield();
        CHECK(home->root().children() == 2);
        home->abandon();
    });
    home->run();
    CHECK_FALSE(passed);
    CHECK(home->stats().tasks_destroyed == 2);  // also the one that abandoned it
    sluice::testing::check_books(home->stats());
}
