// SPDX-License-Identifier: Apache-2.0
#include "sluice/draining.hpp"

#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::nursery;
using sluice::sleep_for;
using sluice::task;
using sluice::until_draining;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;
using sluice::testing::make_reactor;

TEST_CASE("draining: asked, and waited for by several") {
    const auto home = make_reactor();
    int told = 0;
    for (int i = 0; i < 3; ++i)
        home->spawn([&]() -> task<> {
            const auto drains = co_await until_draining();
            CHECK(drains.has_value());
            ++told;
        });
    home->spawn([&]() -> task<> {
        const auto token = co_await sluice::this_coro::draining();
        CHECK_FALSE(token.requested());
        for (int i = 0; i < 3; ++i) co_await yield();
        CHECK(told == 0);
        home->request_drain();
        CHECK(token.requested());
        const auto at_once = co_await until_draining();
        CHECK(at_once.has_value());
    });
    home->run();
    CHECK(told == 3);
    sluice::testing::check_books(home->stats());
}

SLUICE_TEST_CASE("draining: cancelled before it waits and in flight") {
    for (const bool before : {true, false}) {
        int ended = 0;
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            if (before) n.request_stop();
            n.spawn([&]() -> task<> {
                const auto drains = co_await until_draining();
                CHECK(drains.error() == cancelled_error());
                ++ended;
            });
            co_await yield();
            co_await yield();
            n.request_stop();
        });
        CHECK(done.has_value());
        CHECK(ended == 1);
    }
    const auto limited = co_await with_timeout(1ms, until_draining());
    CHECK(limited.error() == sluice::error::timeout);
}

TEST_CASE("draining: the drain and the stop in one turn, in both orders") {
    for (const bool drain_first : {true, false}) {
        const auto home = make_reactor();
        bool value = false;
        home->spawn([&]() -> task<> {
            static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
                n.spawn([&]() -> task<> {
                    const auto drains = co_await until_draining();
                    value = drains.has_value();
                });
                co_await yield();
                co_await yield();
                if (drain_first) home->request_drain();
                n.request_stop();
                if (!drain_first) home->request_drain();
            }));
        });
        home->run();
        CHECK(value == drain_first);
    }
}
