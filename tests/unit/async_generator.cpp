// SPDX-License-Identifier: Apache-2.0
#include "sluice/async_generator.hpp"

#include <chrono>
#include <memory>
#include <stdexcept>
#include <vector>

#include "sluice/event.hpp"
#include "support/child.hpp"
#include "support/counted.hpp"
#include "unit/sync.hpp"

using namespace std::chrono_literals;
using namespace sluice::testing;
using sluice::async_generator;
using sluice::event;
using sluice::nursery;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::yield;

namespace {

//! The numbers below `count`; waits before every `pause`th.
async_generator<int> numbers(int count, int pause) {
    for (int i = 0; i < count; ++i) {
        if (pause != 0 && i % pause == 0) co_await yield();
        co_yield i;
    }
}

async_generator<counted> counted_numbers(census& book, int count) {
    const counted local{book};
    for (int i = 0; i < count; ++i) co_yield counted{book, i};
}

async_generator<int> fails_after(int count, bool later) {
    for (int i = 0; i < count; ++i) co_yield i;
    if (later) co_await yield();
    throw std::runtime_error("no more");
}

}  // namespace

SLUICE_TEST_CASE("async_generator: gives all values and then none, whether or not it waits") {
    for (const int pause : {0, 1, 3}) {
        CAPTURE(pause);
        std::vector<int> got;
        auto g = numbers(10, pause);
        while (auto v = co_await g.next()) got.push_back(*v);
        CHECK(got.size() == 10);
        CHECK(got.back() == 9);
        const auto ended = co_await g.next();
        CHECK(!ended.has_value());
    }
    async_generator<int> empty;
    const auto none = co_await empty.next();
    CHECK(!none.has_value());
}

SLUICE_TEST_CASE("async_generator: a long sequence needs no stack") {
    for (const int pause : {0, 1}) {
        auto g = numbers(100'000, pause);
        int count = 0;
        while (auto v = co_await g.next()) ++count;
        CHECK(count == 100'000);
    }
}

SLUICE_TEST_CASE("async_generator: a generator of a generator") {
    const auto squares = [](async_generator<int> of) -> async_generator<int> {
        while (auto v = co_await of.next()) co_yield *v** v;
    };
    int sum = 0;
    auto g = squares(numbers(5, 2));
    while (auto v = co_await g.next()) sum += *v;
    CHECK(sum == 30);
}

SLUICE_TEST_CASE("async_generator: move-only values are destroyed once") {
    census book;
    {
        auto g = counted_numbers(book, 4);
        int expected = 0;
        while (auto v = co_await g.next()) CHECK(v->value() == expected++);
        CHECK(expected == 4);
    }
    CHECK(book.balanced());
}

SLUICE_TEST_CASE(
    "async_generator: destroyed before its end, it runs destructors; never run, none") {
    census book;
    {
        auto g = counted_numbers(book, 4);
        const auto one = co_await g.next();
        CHECK(one->value() == 0);
        auto moved = std::move(g);
        const auto two = co_await moved.next();
        CHECK(two->value() == 1);
        moved = counted_numbers(book, 1);  // ends the one it had
        CHECK(book.made - book.destroyed == 2);
    }
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("async_generator: what escapes is thrown by next(), once, and then it has ended") {
    for (const bool later : {false, true}) {
        auto g = fails_after(2, later);
        int got = 0;
        bool caught = false;
        try {
            while (auto v = co_await g.next()) ++got;
        } catch (const std::runtime_error&) {
            caught = true;
        }
        CHECK(caught);
        CHECK(got == 2);
        const auto ended = co_await g.next();
        CHECK(!ended.has_value());
    }
}

SLUICE_TEST_CASE("async_generator: a stop of the consumer reaches what the body awaits") {
    const auto ticks = []() -> async_generator<result<int>> {
        co_yield 1;
        const auto slept = co_await sleep_for(1h);
        if (!slept) co_yield slept.error();
    };
    auto g = ticks();
    std::vector<bool> values;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            while (auto v = co_await g.next()) values.push_back(v->has_value());
        });
        co_await settle();
        n.request_stop();
    }));
    CHECK(values == std::vector{true, false});
}

SLUICE_TEST_CASE("async_generator: the environment is that of the one who awaits now") {
    event e;
    const auto two_waits = [&]() -> async_generator<bool> {
        for (int i = 0; i < 2; ++i) {
            const auto w = co_await e.wait();
            co_yield w.has_value();
        }
    };
    auto g = two_waits();
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&]() -> task<> {
            const auto v = co_await g.next();
            CHECK(*v == false);
        });
        co_return;
    }));
    e.set();
    const auto v = co_await g.next();  // this one has not been stopped
    CHECK(*v == true);
}

SLUICE_TEST_CASE("async_generator: next allocates nothing") {
    auto g = numbers(100'000, 2);
    co_await check_allocates_nothing([&]() -> task<> { static_cast<void>(co_await g.next()); });
}

TEST_CASE("async_generator: destroyed while next() waits, it ends the program") {
    expect_death(
        [] {
            const auto home = make_reactor();
            event never;
            auto g = std::make_unique<async_generator<int>>([](event& e) -> async_generator<int> {
                static_cast<void>(co_await e.wait());
                co_yield 1;
            }(never));
            home->spawn([&]() -> task<> { static_cast<void>(co_await g->next()); });
            home->spawn([&]() -> task<> {
                co_await settle();
                g.reset();
            });
            home->run_until_idle();
        },
        "a coroutine that waits in an operation was destroyed");
}
