// SPDX-License-Identifier: Apache-2.0
#include "sluice/condition.hpp"

#include <memory>
#include <vector>

#include "support/child.hpp"
#include "unit/sync.hpp"

using namespace sluice::testing;
using sluice::condition;
using sluice::nursery;
using sluice::task;
using sluice::with_nursery;

SLUICE_TEST_CASE("condition: the state is as asked for when the wait returns") {
    condition changed;
    int stock = 0;
    std::vector<int> taken;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 3; ++i)
            n.spawn([&, i]() -> task<> {
                const auto there = co_await changed.wait([&] { return stock > 0; });
                CHECK(there.has_value());
                CHECK(stock > 0);
                --stock;
                taken.push_back(i);
            });
        co_await settle();
        changed.notify_all();  // for nothing
        co_await settle();
        CHECK(taken.empty());
        stock = 1;
        changed.notify_all();  // three look, one finds it
        co_await settle();
        CHECK(taken.size() == 1);
        stock = 2;
        changed.notify_one();
        changed.notify_one();
    }));
    CHECK(taken.size() == 3);
    const auto at_once = co_await changed.wait([] { return true; });
    CHECK(at_once.has_value());
}

SLUICE_TEST_CASE("condition: notify_one wakes in order, and is not kept for later") {
    condition c;
    c.notify_one();
    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 3; ++i)
            n.spawn([&, i]() -> task<> {
                static_cast<void>(co_await c.wait());
                order.push_back(i);
            });
        co_await settle();
        CHECK(order.empty());
        c.notify_one();
        co_await settle();
        CHECK(order == std::vector{0});
        c.notify_one();
        c.notify_one();
        c.notify_one();
    }));
    CHECK(order == std::vector{0, 1, 2});
}

SLUICE_TEST_CASE("condition: cancelled before, while waiting, and just after a notification") {
    condition c;
    const auto before = co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&] { return c.wait(); });
        n.spawn([&] { return c.wait([] { return false; }); });
        co_return;
    });
    CHECK(is_cancelled(before));
    const auto in_flight = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&] { return c.wait(); });
        n.spawn([&] { return c.wait([] { return false; }); });
        co_await settle();
        n.request_stop();
        c.notify_all();
    });
    CHECK(is_cancelled(in_flight));
    bool state = false;
    const auto notified_first = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&] { return c.wait([&] { return state; }); });
        co_await settle();
        state = true;
        c.notify_one();
        n.request_stop();
    });
    CHECK(notified_first.has_value());
}

SLUICE_TEST_CASE("condition: a notification that nobody takes goes to the next") {
    condition c;
    bool woken = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> { co_await discarded{c.wait()}; });
        n.spawn([&]() -> task<> {
            static_cast<void>(co_await c.wait());
            woken = true;
        });
        co_await settle();
        c.notify_one();
    }));
    CHECK(woken);
}

SLUICE_TEST_CASE("condition: waiting allocates nothing") {
    condition c;
    bool done = false;
    int turn = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            while (!done) {
                static_cast<void>(co_await c.wait([&] { return turn == 1 || done; }));
                turn = 0;
                c.notify_one();
            }
        });
        co_await check_allocates_nothing([&]() -> task<> {
            turn = 1;
            c.notify_one();
            static_cast<void>(co_await c.wait([&] { return turn == 0; }));
        });
        done = true;
        c.notify_all();
    }));
}

TEST_CASE("condition: destroyed while a coroutine waits in it, it ends the program") {
    expect_death(
        [] {
            const auto home = make_reactor();
            auto c = std::make_unique<condition>();
            home->spawn([&]() -> task<> { static_cast<void>(co_await c->wait()); });
            home->spawn([&]() -> task<> {
                co_await settle();
                c.reset();
            });
            home->run_until_idle();
        },
        "a condition was destroyed while coroutines wait in it");
}
