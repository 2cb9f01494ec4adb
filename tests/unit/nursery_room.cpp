// SPDX-License-Identifier: Apache-2.0
// The bound on a nursery's children, and what it keeps of their failures.

#include <memory>
#include <stdexcept>
#include <vector>

#include "sluice/nursery.hpp"
#include "support/allocation_count.hpp"
#include "support/counted.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::failure_log;
using sluice::nursery;
using sluice::nursery_options;
using sluice::on_failure;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;
using sluice::testing::census;
using sluice::testing::counted;

namespace {

constexpr nursery_options at_most(std::size_t children) {
    return {.policy = on_failure::cancel_all, .max_children = children};
}

task<> waits_for_stop() { static_cast<void>(co_await sleep_for(1h)); }

task<result<void>> ends_cancelled() { co_return co_await sleep_for(1h); }

task<result<void>> fails_with(sluice::error e, int yields) {
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return make_error_code(e);
}

task<> throws_after(int yields) {
    for (int i = 0; i < yields; ++i) co_await yield();
    throw std::runtime_error("a child's");
}

}  // namespace

SLUICE_TEST_CASE("nursery room: spawning waits, and no more than the bound are there at once") {
    std::size_t running = 0;
    std::size_t most = 0;
    std::vector<int> order;
    const auto done = co_await with_nursery(at_most(3), [&](nursery& n) -> task<result<void>> {
        for (int i = 0; i < 20; ++i) {
            auto spawned = co_await n.spawn_when_room(
                [&](int id) -> task<> {
                    most = std::max(most, ++running);
                    order.push_back(id);
                    for (int k = 0; k < id % 5; ++k) co_await yield();
                    --running;
                },
                i);
            if (!spawned) co_return spawned;
            CHECK(n.children() <= 4);  // this function is one of them
        }
        co_return result<void>{};
    });
    CHECK(done.has_value());
    CHECK(most == 3);
    REQUIRE(order.size() == 20);
    for (int i = 0; i < 20; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
}

SLUICE_TEST_CASE("nursery room: plain spawn over the bound throws and starts nothing") {
    census book;
    bool thrown = false;
    const auto done = co_await with_nursery(at_most(1), [&](nursery& n) -> task<> {
        CHECK(n.has_room());
        n.spawn(waits_for_stop);
        CHECK_FALSE(n.has_room());
        try {
            n.spawn([c = std::make_shared<counted>(book)]() -> task<> { co_return; });
        } catch (const std::length_error&) {
            thrown = true;
        }
        CHECK(n.children() == 2);
        n.request_stop();
        co_return;
    });
    CHECK(done.has_value());
    CHECK(thrown);
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("nursery room: waiters are served in order, and no plain spawn gets between") {
    std::vector<int> order;
    reactor& home = co_await sluice::this_coro::reactor();
    nursery bounded(home, at_most(1));
    bool leave = false;
    bounded.spawn([&]() -> task<> {
        while (!leave) co_await yield();
    });
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 4; ++i)
            n.spawn(
                [&](int id) -> task<> {
                    auto spawned = co_await bounded.spawn_when_room([&order, id]() -> task<> {
                        order.push_back(id);
                        co_return;
                    });
                    CHECK(spawned.has_value());
                },
                i);
        for (int i = 0; i < 3; ++i) co_await yield();
        CHECK(order.empty());
        leave = true;
        // The place is promised from the moment at which it becomes free.
        for (int i = 0; i < 3; ++i) {
            CHECK_FALSE(bounded.has_room());
            co_await yield();
        }
    });
    CHECK(done.has_value());
    co_await bounded.join();
    CHECK(order == std::vector{0, 1, 2, 3});
    CHECK(bounded.has_room());
}

SLUICE_TEST_CASE("nursery room: join() waits for a place that is promised") {
    reactor& home = co_await sluice::this_coro::reactor();
    nursery bounded(home, at_most(1));
    int ran = 0;
    const auto child = [&ran]() -> task<> {
        co_await yield();
        ++ran;
    };
    bounded.spawn(child);
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 5; ++i)
            n.spawn(
                [&]() -> task<result<void>> { co_return co_await bounded.spawn_when_room(child); });
        n.spawn([&]() -> task<> {
            co_await bounded.join();
            CHECK(ran == 6);
        });
        n.spawn([&]() -> task<> {  // a second one
            co_await bounded.join();
            CHECK(ran == 6);
        });
        co_return;
    });
    CHECK(done.has_value());
    CHECK(ran == 6);
}

SLUICE_TEST_CASE(
    "nursery room: cancelled before it waits, while it waits, and when it is too late") {
    census book;
    reactor& home = co_await sluice::this_coro::reactor();
    nursery bounded(home, at_most(1));
    int ran = 0;
    result<void> before;
    result<void> waiting;
    result<void> late;
    const auto spawn = [&](result<void>& to) -> task<> {
        // g++ 12 destroys a closure with such captures twice when it stands in the co_await.
        auto place =
            bounded.spawn_when_room([&ran, c = std::make_shared<counted>(book)]() -> task<> {
                ++ran;
                co_return;
            });
        to = co_await place;
    };
    const auto first = co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        co_await spawn(before);  // there would be room
    });
    CHECK(first.has_value());
    CHECK(before.error() == cancelled_error());
    CHECK(bounded.children() == 0);

    bool leave = false;
    bounded.spawn([&]() -> task<> {
        while (!leave) co_await yield();
    });
    const auto second = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&] { return spawn(waiting); });
        co_await yield();
        co_await yield();
        n.request_stop();
    });
    CHECK(second.has_value());
    CHECK(waiting.error() == cancelled_error());

    // The place is promised in the turn in which the stop comes: it is not lost.
    const auto third = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&] { return spawn(late); });
        co_await yield();
        co_await yield();
        leave = true;
        while (bounded.children() != 0) co_await yield();
        n.request_stop();
    });
    CHECK(third.has_value());
    co_await bounded.join();
    CHECK(late.has_value());
    CHECK(ran == 1);
    CHECK(bounded.has_room());
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("nursery room: a timeout around the waiting") {
    const auto done = co_await with_nursery(at_most(1), [](nursery& n) -> task<> {
        n.spawn(waits_for_stop);
        const auto spawned = co_await with_timeout(1ms, n.spawn_when_room(waits_for_stop));
        REQUIRE(spawned.has_error());
        CHECK(spawned.error() == sluice::error::timeout);
        n.request_stop();
    });
    CHECK(done.has_value());
}

SLUICE_TEST_CASE("nursery room: waiting allocates nothing, and the budget takes no place away") {
    const auto done = co_await with_nursery(at_most(2), [](nursery& n) -> task<> {
        const auto child = []() -> task<> { co_await yield(); };
        for (int i = 0; i < 10; ++i) static_cast<void>(co_await n.spawn_when_room(child));
        const auto allocated = sluice::testing::allocations();
        for (int i = 0; i < 1000; ++i) static_cast<void>(co_await n.spawn_when_room(child));
        CHECK(sluice::testing::allocations() == allocated);
    });
    CHECK(done.has_value());
}

SLUICE_TEST_CASE("nursery failures: all are kept, the consequences of the stop stand apart") {
    failure_log log;
    const auto done = co_await with_nursery({.failures = &log}, [](nursery& n) -> task<> {
        for (int i = 0; i < 3; ++i) n.spawn(ends_cancelled);
        n.spawn(fails_with, sluice::error::truncated, 1);
        n.spawn(fails_with, sluice::error::draining, 2);
        co_return;
    });
    REQUIRE(done.has_error());
    CHECK(done.error() == sluice::error::truncated);
    REQUIRE(log.kept().size() == 2);
    CHECK(log.kept()[0].error == sluice::error::truncated);
    CHECK(log.kept()[1].error == sluice::error::draining);
    CHECK(log.count() == 2);
    CHECK(log.cancelled() == 3);
}

SLUICE_TEST_CASE(
    "nursery failures: errors and exceptions; those that nobody is given are counted") {
    reactor& home = co_await sluice::this_coro::reactor();
    const auto before = home.stats().task_failures;
    bool thrown = false;
    try {
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn(fails_with, sluice::error::eof, 0);
            n.spawn(throws_after, 1);
            n.spawn(throws_after, 2);
            while (n.children() > 1) co_await yield();
            CHECK(n.failures() == 3);
            REQUIRE(n.failed().kept().size() == 3);
            CHECK(n.failed().kept()[0].error == sluice::error::eof);
            CHECK(n.failed().kept()[1].exception != nullptr);
            CHECK(n.failed().kept()[2].exception != nullptr);
        }));
    } catch (const std::runtime_error&) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK(home.stats().task_failures == before + 2);
}

SLUICE_TEST_CASE("nursery failures: memory is bounded, the count is not") {
    failure_log log(4);
    const nursery_options options{.policy = on_failure::collect, .failures = &log};
    const auto done = co_await with_nursery(options, [](nursery& n) -> task<> {
        for (int i = 0; i < 10; ++i) n.spawn(fails_with, sluice::error::truncated, i);
        co_return;
    });
    CHECK(done.has_value());
    CHECK(log.kept().size() == 4);
    CHECK(log.dropped() == 6);
    CHECK(log.count() == 10);
}

SLUICE_TEST_CASE("nursery failures: a cause after the stop outranks the consequences before it") {
    const auto done = co_await with_nursery([](nursery& n) -> task<> {
        n.spawn(ends_cancelled);
        n.spawn(fails_with, sluice::error::truncated, 10);
        n.request_stop();
        co_return;
    });
    REQUIRE(done.has_error());
    CHECK(done.error() == sluice::error::truncated);
}
