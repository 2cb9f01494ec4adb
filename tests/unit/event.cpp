// SPDX-License-Identifier: Apache-2.0
#include "sluice/event.hpp"

#include <memory>
#include <stdexcept>
#include <vector>

#include "sluice/latch.hpp"
#include "support/child.hpp"
#include "unit/sync.hpp"

using namespace sluice::testing;
using sluice::event;
using sluice::latch;
using sluice::nursery;
using sluice::reactor;
using sluice::result;
using sluice::task;
using sluice::with_nursery;
using sluice::yield;

SLUICE_TEST_CASE("event: set before, set while waiting, reset") {
    event e;
    CHECK(!e.is_set());
    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 3; ++i)
            n.spawn([&order, &e, i]() -> task<> {
                const auto woken = co_await e.wait();
                CHECK(woken.has_value());
                order.push_back(i);
            });
        co_await settle();
        CHECK(order.empty());
        e.set();
        CHECK(order.empty());  // nobody is resumed by the one that sets
    }));
    CHECK(order == std::vector{0, 1, 2});
    const auto at_once = co_await e.wait();
    CHECK(at_once.has_value());
    e.reset();
    CHECK(!e.is_set());
    CHECK(event{true}.is_set());
}

SLUICE_TEST_CASE("event: who was woken stays woken when the event is reset, or goes") {
    auto e = std::make_unique<event>();
    int woken = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 2; ++i)
            n.spawn([&]() -> task<> {
                const auto w = co_await e->wait();
                woken += w.has_value() ? 1 : 0;
            });
        co_await settle();
        e->set();
        e->reset();
        e.reset();
    }));
    CHECK(woken == 2);
}

SLUICE_TEST_CASE("event: cancelled before, while waiting, and just after it was set") {
    event e{true};
    const auto before = co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&] { return e.wait(); });
        co_return;
    });
    CHECK(is_cancelled(before));

    e.reset();
    const auto in_flight = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&] { return e.wait(); });
        co_await settle();
        n.request_stop();
        e.set();  // comes too late
    });
    CHECK(is_cancelled(in_flight));

    e.reset();
    const auto set_first = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&] { return e.wait(); });
        co_await settle();
        e.set();
        n.request_stop();
    });
    CHECK(set_first.has_value());
}

SLUICE_TEST_CASE("event: one that is cancelled in the middle leaves the others in order") {
    event e;
    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& outer) -> task<> {
        const auto waits = [&order, &e](int i) -> task<> {
            const auto w = co_await e.wait();
            order.push_back(w ? i : -i);
        };
        outer.spawn(waits, 1);
        co_await settle();
        static_cast<void>(co_await with_nursery([&](nursery& inner) -> task<> {
            inner.spawn(waits, 2);
            co_await settle();
            outer.spawn(waits, 3);
            co_await settle();
            inner.request_stop();
        }));
        e.set();
    }));
    CHECK(order == std::vector{-2, 1, 3});
}

SLUICE_TEST_CASE("event: waiting allocates nothing") {
    event there;
    event back;
    bool done = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            for (;;) {
                static_cast<void>(co_await there.wait());
                there.reset();
                if (done) co_return;
                back.set();
            }
        });
        co_await check_allocates_nothing([&]() -> task<> {
            there.set();
            static_cast<void>(co_await back.wait());
            back.reset();
        });
        done = true;
        there.set();
    }));
}

TEST_CASE("event: destroyed while a coroutine waits in it, it ends the program") {
    expect_death(
        [] {
            const auto home = make_reactor();
            auto e = std::make_unique<event>();
            home->spawn([&]() -> task<> { static_cast<void>(co_await e->wait()); });
            home->spawn([&]() -> task<> {
                co_await settle();
                e.reset();
            });
            home->run_until_idle();
        },
        "an event was destroyed while coroutines wait in it");
}

TEST_CASE("event: a reactor that is abandoned destroys it with those that wait") {
    const auto home = make_reactor();
    home->spawn([]() -> task<> {
        event e;
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&] { return e.wait(); });
            n.spawn([&]() -> task<> {  // ignores its stop
                for (;;) co_await yield();
            });
            co_return;
        }));
    });
    auto owned = std::make_unique<event>();
    home->spawn([&]() -> task<> { static_cast<void>(co_await owned->wait()); });
    home->spawn(
        [](std::unique_ptr<event>& e, reactor& r) -> task<> {
            co_await settle();
            r.abandon();
            e.reset();  // those that wait are let go
        },
        std::ref(owned), std::ref(*home));
    home->run();
    check_books(home->stats());
}

SLUICE_TEST_CASE("latch: opens at zero, and not below") {
    latch l{2};
    CHECK(!l.try_wait());
    int through = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto w = co_await l.wait();
            CHECK(w.has_value());
            ++through;
        });
        co_await settle();
        CHECK(through == 0);
        l.count_down();
        co_await settle();
        CHECK(through == 0);
        const auto arrived = co_await l.arrive_and_wait();
        CHECK(arrived.has_value());
    }));
    CHECK(through == 1);
    CHECK(l.try_wait());
    CHECK_THROWS_AS(l.count_down(), std::logic_error);
    const auto again = co_await l.wait();
    CHECK(again.has_value());
    latch none{0};
    CHECK(none.try_wait());
    const auto at_once = co_await none.wait();
    CHECK(at_once.has_value());
}

SLUICE_TEST_CASE("latch: a cancelled wait leaves the count alone, what has arrived has arrived") {
    latch l{3};
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&] { return l.wait(); });
        n.spawn([&] { return l.arrive_and_wait(); });
        co_await settle();
        n.request_stop();
    });
    CHECK(is_cancelled(done));
    CHECK(l.left() == 2);
}
