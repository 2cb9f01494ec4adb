// SPDX-License-Identifier: Apache-2.0
// The options of a reactor at their ends, and operations under them.

#include <memory>
#include <thread>
#include <vector>

#include "runtime/reactor_io.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::reactor_options;
using sluice::sleep_for;
using sluice::task;
using sluice::yield;
using sluice::detail::operation;
using sluice::detail::waiter;

namespace {

//! Does nothing at the kernel, as often as it is asked.
class no_op final : public operation {
public:
    no_op() noexcept
        : operation([](operation&, io_uring_sqe& sqe) noexcept { io_uring_prep_nop(&sqe); },
                    [](operation& op, std::int32_t result, std::uint32_t) noexcept {
                        auto& self = static_cast<no_op&>(op);
                        ++self.completed;
                        self.last_result = result;
                    }) {}
    int completed = 0;
    std::int32_t last_result = 1;
};

//! Waits at the kernel until it is cancelled.
class endless final : public operation {
public:
    endless() noexcept
        : operation(
              [](operation& op, io_uring_sqe& sqe) noexcept {
                  io_uring_prep_timeout(&sqe, &static_cast<endless&>(op).hour_, 0, 0);
              },
              [](operation& op, std::int32_t result, std::uint32_t) noexcept {
                  auto& self = static_cast<endless&>(op);
                  ++self.completed;
                  self.last_result = result;
              }) {}
    int completed = 0;
    std::int32_t last_result = 1;

private:
    __kernel_timespec hour_{3600, 0};
};

sluice::testing::run_options with(reactor_options options) { return {options, 0}; }

reactor_options smallest_queues() {
    reactor_options options;
    options.sq_entries = 1;
    options.cq_entries = 2;
    return options;
}

}  // namespace

TEST_CASE("options: the smallest queues do for sleeps and posts") {
    sluice::testing::run(
        [](reactor& home) -> task<> {
            for (int i = 0; i < 20; ++i) {
                const auto slept = co_await sleep_for(100us);
                CHECK(slept.has_value());
            }
            int ran = 0;
            std::thread poster([&] {
                for (int i = 0; i < 100; ++i) {
                    if (i % 10 == 0) std::this_thread::sleep_for(100us);
                    home.post([&ran] { ++ran; });
                }
            });
            while (ran < 100) static_cast<void>(co_await sleep_for(1ms));
            poster.join();
        },
        with(smallest_queues()));
}

TEST_CASE("operations: a full submission queue fails none of them") {
    const auto stats = sluice::testing::run(
        [](reactor& home) -> task<> {
            std::vector<no_op> operations(200);
            for (int round = 1; round <= 3; ++round) {
                for (no_op& op : operations) {
                    home.io().submit(op);
                    CHECK(op.live());
                }
                while (home.io().live() != 0) co_await yield();
                for (const no_op& op : operations) {
                    REQUIRE(op.completed == round);
                    REQUIRE(op.last_result == 0);
                    REQUIRE_FALSE(op.live());
                }
            }
        },
        with(smallest_queues()));
    CHECK(stats.sqes >= 600);
    CHECK(stats.cqes >= 600);
}

TEST_CASE("operations: cancelled in every state they end once, with ECANCELED or their result") {
    for (const auto& options : {smallest_queues(), reactor_options{}}) {
        CAPTURE(options.sq_entries);
        sluice::testing::run(
            [](reactor& home) -> task<> {
                std::vector<endless> waiting(50);
                for (endless& op : waiting) home.io().submit(op);
                for (int i = 0; i < 3; ++i) co_await yield();
                std::vector<endless> fresh(50);  // some of them are still parked when cancelled
                for (endless& op : fresh) home.io().submit(op);
                CHECK(home.stats().live_operations == 100);
                for (endless& op : waiting) {
                    home.io().cancel(op);
                    home.io().cancel(op);  // harmless
                    CHECK(op.cancelling());
                }
                for (endless& op : fresh) home.io().cancel(op);
                while (home.io().live() != 0) co_await yield();
                for (const auto* all : {&waiting, &fresh})
                    for (const endless& op : *all) {
                        REQUIRE(op.completed == 1);
                        REQUIRE(op.last_result == -ECANCELED);
                    }
                home.io().cancel(waiting.front());  // ended: harmless
                home.io().submit(waiting.front());
                co_await yield();
                CHECK_FALSE(waiting.front().cancelling());
                home.io().cancel(waiting.front());
                while (home.io().live() != 0) co_await yield();
                CHECK(waiting.front().completed == 2);
            },
            with(options));
    }
}

TEST_CASE("operations: an overflow of the completion queue is counted and loses nothing") {
    const auto stats = sluice::testing::run(
        [](reactor& home) -> task<> {
            std::vector<endless> operations(300);
            for (endless& op : operations) home.io().submit(op);
            for (int i = 0; i < 3; ++i) co_await yield();
            home.io().cancel_everything();
            home.io().cancel_everything();
            while (home.io().live() != 0) co_await yield();
            for (const endless& op : operations) REQUIRE(op.completed == 1);
        },
        with(smallest_queues()));
    CHECK(stats.cq_overflows > 0);
}

TEST_CASE("operations: a hook runs once at the end of the turn it was asked for") {
    struct hook final : sluice::detail::turn_end_hook {
        void at_turn_end() noexcept override { ++ran; }
        int ran = 0;
    };
    sluice::testing::run([](reactor& home) -> task<> {
        hook a;
        hook b;
        hook c;
        home.io().at_turn_end(a);
        home.io().at_turn_end(b);
        home.io().at_turn_end(c);
        home.io().at_turn_end(a);
        home.io().forget(b);
        home.io().forget(b);
        CHECK(a.ran == 0);
        co_await yield();
        CHECK(a.ran == 1);
        CHECK(b.ran == 0);
        CHECK(c.ran == 1);
        co_await yield();
        CHECK(a.ran == 1);
        home.io().at_turn_end(c);
        home.io().forget(c);  // the last one
        home.io().at_turn_end(b);
        co_await yield();
        CHECK(b.ran == 1);
        CHECK(c.ran == 1);
    });
}

TEST_CASE("options: a turn of one coroutine and a budget of none only cost time") {
    reactor_options options;
    options.ready_turn = 1;
    options.await_budget = 0;
    const auto stats = sluice::testing::run(
        [](reactor& home) -> task<> {
            int ran = 0;
            for (int i = 0; i < 10; ++i)
                home.spawn([&ran]() -> task<> {
                    const auto one = []() -> task<int> { co_return 1; };
                    for (int k = 0; k < 10; ++k) ran += co_await one();
                });
            while (ran < 100) co_await yield();
            static_cast<void>(co_await sleep_for(1ms));
        },
        with(options));
    CHECK(stats.turns >= 100);
}

TEST_CASE("options: min_wait batches completions but delays no timer and loses no post") {
    reactor_options options;
    options.min_wait = 2ms;
    options.min_wait_completions = 64;
    sluice::testing::run(
        [](reactor& home) -> task<> {
            const auto began = reactor::clock::now();
            for (int i = 0; i < 5; ++i) static_cast<void>(co_await sleep_for(1ms));
            CHECK(reactor::clock::now() - began < 5s);
            bool posted = false;
            std::thread poster([&] { home.post([&posted] { posted = true; }); });
            while (!posted) static_cast<void>(co_await sleep_for(1ms));
            poster.join();
        },
        with(options));
}

TEST_CASE("options: busy polling is used or said to be refused") {
    reactor_options options;
    options.busy_poll = 50us;
    const auto home = sluice::testing::make_reactor(options);
    for (const auto& f : home->ring_features().list())
        if (f.name == "NAPI_BUSY_POLL") CHECK((f.in_use || f.why_not != "not asked for"));
    home->spawn([]() -> task<> { static_cast<void>(co_await sleep_for(1ms)); });
    home->run_until_idle();
}
