// SPDX-License-Identifier: Apache-2.0
#include "sluice/when_all.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "support/allocation_count.hpp"
#include "support/counted.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::nursery;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::when_all;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;
using sluice::testing::census;
using sluice::testing::counted;

namespace {

task<int> number(int yields, int n) {
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return n;
}

task<result<int>> number_or_stop(int n) {
    const auto slept = co_await sleep_for(1h);
    if (!slept) co_return slept.error();
    co_return n;
}

task<result<int>> fails(int yields) {
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return sluice::error::truncated;
}

task<int> throws(int yields, const char* what) {
    for (int i = 0; i < yields; ++i) co_await yield();
    throw std::runtime_error(what);
}

task<> nothing() { co_await yield(); }

bool is_cancelled(const auto& r) { return r.has_error() && r.error() == cancelled_error(); }

task<> for_ever() {
    for (;;) co_await yield();
}

}  // namespace

SLUICE_TEST_CASE("when_all: gives what each gave, in the order in which they stand") {
    auto all = co_await when_all(number(3, 1), number(0, 2), nothing(), sleep_for(1ms));
    static_assert(
        std::is_same_v<decltype(all), std::tuple<int, int, std::monostate, result<void>>>);
    CHECK(std::get<0>(all) == 1);
    CHECK(std::get<1>(all) == 2);
    CHECK(std::get<3>(all).has_value());
    const auto one = co_await when_all(number(0, 7));
    CHECK(std::get<0>(one) == 7);
    const auto none = co_await when_all();
    static_assert(std::is_same_v<decltype(none), const std::tuple<>>);
}

SLUICE_TEST_CASE("when_all: they run side by side, and start at once in their order") {
    std::string trace;
    const auto letter = [&](char c) -> task<> {
        trace += c;
        co_await yield();
        trace += c;
    };
    static_cast<void>(co_await when_all(letter('a'), letter('b'), letter('c')));
    CHECK(trace == "abcabc");
}

SLUICE_TEST_CASE("when_all: a vector, empty, of tasks at once ready and of many that wait") {
    const auto none = co_await when_all(std::vector<task<int>>{});
    CHECK(none.empty());
    for (const int yields : {0, 1, 5}) {
        std::vector<task<int>> tasks;
        for (int i = 0; i < 1000; ++i) tasks.push_back(number(i % (yields + 1), i));
        const auto all = co_await when_all(std::move(tasks));
        REQUIRE(all.size() == 1000);
        for (int i = 0; i < 1000; ++i) CHECK(all[static_cast<std::size_t>(i)] == i);
    }
}

SLUICE_TEST_CASE("when_all: the first error cancels the others, each says what came of it") {
    auto all = co_await when_all(number_or_stop(1), fails(2), number(5, 3), sleep_for(1h));
    CHECK(is_cancelled(std::get<0>(all)));
    CHECK(std::get<1>(all).error() == sluice::error::truncated);
    CHECK(std::get<2>(all) == 3);
    CHECK(is_cancelled(std::get<3>(all)));
    std::vector<task<result<int>>> tasks;
    tasks.push_back(number_or_stop(1));
    tasks.push_back(fails(0));
    tasks.push_back(number_or_stop(1));
    const auto range = co_await when_all(std::move(tasks));
    REQUIRE(range.size() == 3);
    CHECK(is_cancelled(range[0]));
    CHECK(range[1].error() == sluice::error::truncated);
    CHECK(is_cancelled(range[2]));  // it was started cancelled
}

SLUICE_TEST_CASE(
    "when_all: the first exception is thrown when all have ended, others are counted") {
    reactor& home = co_await sluice::this_coro::reactor();
    const auto before = home.stats().task_failures;
    bool stopped = false;
    const auto waits = [&]() -> task<> {
        const auto slept = co_await sleep_for(1h);
        co_await yield();
        stopped = is_cancelled(slept);
    };
    std::string what;
    try {
        static_cast<void>(
            co_await when_all(waits(), throws(2, "second"), throws(1, "first"), number(9, 1)));
    } catch (const std::runtime_error& e) {
        what = e.what();
    }
    CHECK(what == "first");
    CHECK(stopped);
    CHECK(home.stats().task_failures == before + 1);
    what.clear();
    std::vector<task<int>> tasks;
    tasks.push_back(throws(0, "at once"));
    tasks.push_back(number(3, 1));
    try {
        static_cast<void>(co_await when_all(std::move(tasks)));
    } catch (const std::runtime_error& e) {
        what = e.what();
    }
    CHECK(what == "at once");
}

SLUICE_TEST_CASE(
    "when_all: a stop of the chain outside, before it begins, in flight and too late") {
    for (const int yields : {0, 2, 6}) {
        CAPTURE(yields);
        bool ended = false;
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            if (yields == 0) n.request_stop();
            n.spawn([&]() -> task<> {
                auto all = co_await when_all(number_or_stop(1), number(3, 2), sleep_for(1h));
                CHECK(is_cancelled(std::get<0>(all)));
                CHECK(std::get<1>(all) == 2);
                CHECK(is_cancelled(std::get<2>(all)));
                ended = true;
            });
            for (int i = 0; i < yields; ++i) co_await yield();
            n.request_stop();
        });
        CHECK(done.has_value());
        CHECK(ended);
    }
}

SLUICE_TEST_CASE("when_all: inside a timeout, and timeouts inside it") {
    const auto limited = [](std::chrono::nanoseconds limit) -> task<result<int>> {
        auto all = co_await when_all(with_timeout(limit, number_or_stop(1)), number(2, 2));
        CHECK(std::get<1>(all) == 2);
        co_return std::get<0>(all);
    };
    const auto inside = co_await limited(1ms);
    CHECK(inside.error() == sluice::error::timeout);
    const auto outside = co_await with_timeout(1ms, limited(1h));
    CHECK(outside.error() == sluice::error::timeout);
}

SLUICE_TEST_CASE("when_all: nested, with values that can only be moved") {
    census book;
    const auto boxed = [&](int yields) -> task<result<std::unique_ptr<counted>>> {
        for (int i = 0; i < yields; ++i) co_await yield();
        co_return std::make_unique<counted>(book, yields);
    };
    const auto two = [&](int yields) -> task<int> {
        auto both = co_await when_all(boxed(yields), boxed(yields + 1));
        co_return (*std::get<0>(both))->value() + (*std::get<1>(both))->value();
    };
    const auto sums = co_await when_all(two(1), when_all(two(0), two(4)));
    CHECK(std::get<0>(sums) == 3);
    CHECK(std::get<0>(std::get<1>(sums)) == 1);
    CHECK(std::get<1>(std::get<1>(sums)) == 9);
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("when_all: never awaited, it starts nothing") {
    census book;
    bool ran = false;
    const auto body = [](counted, bool& flag) -> task<> {
        flag = true;
        co_return;
    };
    { auto never = when_all(body(counted{book}, ran), sleep_for(1h)); }
    co_await yield();
    CHECK_FALSE(ran);
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("when_all: the tuple takes frames of the pool and nothing else") {
    static_cast<void>(co_await when_all(number(1, 1), sleep_for(0s)));
    const auto allocated = sluice::testing::allocations();
    for (int i = 0; i < 100; ++i)
        static_cast<void>(co_await when_all(number(1, 1), sleep_for(0s), number(0, 1)));
    CHECK(sluice::testing::allocations() == allocated);
}

TEST_CASE("when_all: an abandoned reactor destroys the branches") {
    const auto home = sluice::testing::make_reactor();
    home->spawn([]() -> task<> {
        static_cast<void>(co_await when_all(sleep_for(1h), number_or_stop(1), for_ever()));
    });
    home->spawn([&]() -> task<> {
        for (int i = 0; i < 3; ++i) co_await yield();
        home->abandon();
    });
    home->run();
    sluice::testing::check_books(home->stats());
}
