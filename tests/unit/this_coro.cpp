// SPDX-License-Identifier: Apache-2.0
#include "sluice/this_coro.hpp"

#include <vector>

#include "support/run.hpp"

using sluice::nursery;
using sluice::reactor;
using sluice::task;
using sluice::with_nursery;
using sluice::yield;

namespace {
task<const reactor*> from_below() {
    co_await yield();
    const reactor& home = co_await sluice::this_coro::reactor();
    co_return &home;
}
}  // namespace

SLUICE_TEST_CASE("this_coro::reactor: the same at every depth") {
    const reactor& home = co_await sluice::this_coro::reactor();
    CHECK(&home == reactor::current());
    const reactor* below = co_await from_below();
    CHECK(below == &home);
}

SLUICE_TEST_CASE("this_coro::stop_token: follows the chain, not its neighbours") {
    bool before = true;
    bool after = false;
    const auto outside = co_await sluice::this_coro::stop_token();
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        const auto token = co_await sluice::this_coro::stop_token();
        before = token.stop_requested();
        n.request_stop();
        after = token.stop_requested();
    }));
    CHECK_FALSE(before);
    CHECK(after);
    CHECK_FALSE(outside.stop_requested());
}

SLUICE_TEST_CASE("yield: all others that are ready run first") {
    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int id = 0; id < 3; ++id)
            n.spawn([&order, id]() -> task<> {
                for (int round = 0; round < 3; ++round) {
                    order.push_back(10 * round + id);
                    co_await yield();
                }
            });
        co_return;
    }));
    CHECK(order == std::vector{0, 1, 2, 10, 11, 12, 20, 21, 22});
}

SLUICE_TEST_CASE("yield: does so for a cancelled chain as well") {
    int others = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&others]() -> task<> {
            ++others;
            co_return;
        });
        co_await yield();
        CHECK(others == 1);
    }));
}
