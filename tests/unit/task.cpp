// SPDX-License-Identifier: Apache-2.0
#include "sluice/task.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/counted.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::yield;
using sluice::testing::census;
using sluice::testing::counted;

static_assert(std::is_nothrow_move_constructible_v<task<int>>);
static_assert(std::is_nothrow_move_assignable_v<task<int>>);
static_assert(!std::is_copy_constructible_v<task<>>);
static_assert(!std::is_copy_assignable_v<task<>>);
static_assert(sluice::awaitable<task<std::unique_ptr<int>>>);
static_assert(std::is_same_v<sluice::await_result_t<task<int>>, int>);
static_assert(std::is_void_v<sluice::await_result_t<task<>>>);

namespace {

task<int> number(int n) { co_return n; }
task<int> number_later(int n) {
    co_await yield();
    co_return n;
}
task<> nothing() { co_return; }
task<std::unique_ptr<int>> pointer(int n) { co_return std::make_unique<int>(n); }
task<counted> counted_value(census& book, int n) { co_return counted{book, n}; }
task<std::vector<std::string>> strings() { co_return std::vector<std::string>{"a", "b"}; }

//! Neither default-constructible nor assignable.
struct rigid {
    explicit rigid(int n) : value(n) {}
    rigid(rigid&&) = default;
    rigid& operator=(rigid&&) = delete;
    const int value;
};
task<rigid> rigid_value(int n) { co_return rigid{n}; }

task<int> fails_at_once() {
    throw std::runtime_error("at once");
    co_return 1;
}
task<int> fails_later() {
    co_await yield();
    throw std::runtime_error("later");
}
task<> passes_on() { static_cast<void>(co_await fails_later()); }
task<> note(std::vector<int>& order, int n) {
    order.push_back(n);
    co_return;
}
task<int> holds(counted value) {
    co_await yield();
    co_return value.value();
}

template <class T>
task<std::string> message_of(task<T> failing) {
    std::string message = "nothing was thrown";
    try {
        static_cast<void>(co_await std::move(failing));
    } catch (const std::runtime_error& e) {
        message = e.what();
    }
    co_return message;
}

}  // namespace

SLUICE_TEST_CASE("task: gives values of all kinds, at once and later") {
    CHECK(reactor::current() != nullptr);
    const int at_once = co_await number(1);
    CHECK(at_once == 1);
    const int later = co_await number_later(2);
    CHECK(later == 2);
    co_await nothing();
    const std::unique_ptr<int> p = co_await pointer(3);
    REQUIRE(p != nullptr);
    CHECK(*p == 3);
    const auto v = co_await strings();
    CHECK(v == std::vector<std::string>{"a", "b"});
    const rigid r = co_await rigid_value(4);
    CHECK(r.value == 4);
}

TEST_CASE("task: a value is moved, and destroyed as often as made") {
    census book;
    sluice::testing::run([&]() -> task<> {
        {
            const counted value = co_await counted_value(book, 7);
            CHECK(value.value() == 7);
            CHECK(book.made - book.destroyed == 1);
        }
        const int given = co_await holds(counted{book, 8});
        CHECK(given == 8);
        // A value that nobody takes.
        static_cast<void>(co_await counted_value(book, 9));
    });
    CHECK(book.made > 0);
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("task: nothing of it runs before it is awaited") {
    std::vector<int> order;
    task<> second = note(order, 2);
    task<> first = note(order, 1);
    co_await yield();
    CHECK(order.empty());
    co_await std::move(first);
    CHECK(order == std::vector{1});
    co_await std::move(second);
    CHECK(order == std::vector{1, 2});
}

TEST_CASE("task: destroyed before it was started, its arguments are too, and nothing ran") {
    census book;
    sluice::testing::run([&]() -> task<> {
        { const task<int> never = holds(counted{book, 1}); }
        CHECK(book.made == book.destroyed);
        task<int> overwritten = holds(counted{book, 2});
        overwritten = holds(counted{book, 3});
        const int given = co_await std::move(overwritten);
        CHECK(given == 3);
    });
    CHECK(book.made > 0);
    CHECK(book.balanced());
}

TEST_CASE("task: made, moved and destroyed without a reactor, and on another thread") {
    census book;
    {
        task<int> made = holds(counted{book, 1});
        task<int> moved = std::move(made);
        made = std::move(moved);
        task<int>& self = made;
        made = std::move(self);
        task<int> empty;
        task<int> taken = std::move(empty);
        std::thread([t = std::move(made)]() mutable {
            const task<int> dies = std::move(t);
        }).join();
    }
    CHECK(book.balanced());
    sluice::testing::run([&]() -> task<> {
        task<int> made = holds(counted{book, 1});
        std::thread([t = std::move(made)]() mutable {
            const task<int> dies = std::move(t);
        }).join();
        co_return;
    });
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("task: exceptions come out of the await") {
    const std::string at_once = co_await message_of(fails_at_once());
    CHECK(at_once == "at once");
    const std::string later = co_await message_of(fails_later());
    CHECK(later == "later");
    const std::string passed_on = co_await message_of(passes_on());
    CHECK(passed_on == "later");
}

TEST_CASE("task: an exception unwinds every frame on its way") {
    census book;
    struct local {
        static task<> inner(census& c) {
            const counted here{c};
            co_await yield();
            throw std::runtime_error("deep");
        }
        static task<> outer(census& c, int depth) {
            const counted here{c};
            if (depth == 0)
                co_await inner(c);
            else
                co_await outer(c, depth - 1);
        }
    };
    CHECK_THROWS_WITH_AS(sluice::testing::run([&]() -> task<> { co_await local::outer(book, 20); }),
                         "deep", std::runtime_error);
    CHECK(book.made == 22);
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("task: value() of an error throws, and the exception can be caught above") {
    const auto failing = []() -> task<int> {
        const result<int> r = sluice::make_error_code(sluice::error::truncated);
        co_return r.value();
    };
    boost::system::error_code seen;
    try {
        static_cast<void>(co_await failing());
    } catch (const boost::system::system_error& e) {
        seen = e.code();
    }
    CHECK(seen == sluice::error::truncated);
}

SLUICE_TEST_CASE("task: a lambda's coroutine sees its arguments and captures to the end") {
    const std::string captured(100, 'c');
    const auto lambda = [captured](std::string argument) -> task<std::size_t> {
        static_cast<void>(co_await sleep_for(1ms));
        co_return captured.size() + argument.size();
    };
    const std::size_t both = co_await lambda(std::string(50, 'a'));
    CHECK(both == 150);
}

SLUICE_TEST_CASE("task: a task passes through a coroutine, a vector and a unique_ptr") {
    std::vector<task<int>> tasks;
    for (int i = 0; i < 100; ++i) tasks.push_back(i % 2 == 0 ? number(i) : number_later(i));
    int sum = 0;
    for (task<int>& t : tasks) sum += co_await std::move(t);
    CHECK(sum == 4950);
    const auto boxed = std::make_unique<task<int>>(number_later(5));
    const int given = co_await std::move(*boxed);
    CHECK(given == 5);
}
