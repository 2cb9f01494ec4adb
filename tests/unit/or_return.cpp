// SPDX-License-Identifier: Apache-2.0
#include "sluice/or_return.hpp"

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>

#include "sluice/when_all.hpp"
#include "support/allocation_count.hpp"
#include "support/counted.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::nursery;
using sluice::or_return;
using sluice::or_throw;
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

//! A result after so many turns; 0: there when the await of the task begins.
task<result<int>> gives(int yields, int n) {
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return n;
}
task<result<int>> fails(int yields) {
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return sluice::error::truncated;
}
task<result<int>> throws(int yields) {
    for (int i = 0; i < yields; ++i) co_await yield();
    throw std::runtime_error("thrown");
}

//! A primitive that has its result at once.
struct [[nodiscard]] at_once {
    result<int> value;
    bool await_ready() const noexcept { return true; }
    bool await_suspend(std::coroutine_handle<>, const sluice::environment&) const { return false; }
    result<int> await_resume() const { return value; }
};

//! Says when it is destroyed.
struct trace_end {
    std::string& trace;
    char letter;
    ~trace_end() { trace += letter; }
};

}  // namespace

SLUICE_TEST_CASE("or_throw: a value, or an exception with the error") {
    const int value = co_await or_throw(gives(1, 4));
    CHECK(value == 4);
    co_await or_throw(sleep_for(0s));
    boost::system::error_code seen;
    for (const int yields : {0, 2}) {
        try {
            static_cast<void>(co_await or_throw(fails(yields)));
        } catch (const boost::system::system_error& e) {
            seen = e.code();
        }
        CHECK(seen == sluice::error::truncated);
    }
    auto boxed = [](int n) -> task<result<std::unique_ptr<int>>> {
        co_return std::make_unique<int>(n);
    };
    const auto box = co_await or_throw(boxed(3));
    CHECK(*box == 3);
}

SLUICE_TEST_CASE("or_return: values come through, whether at once or later") {
    const auto sum = [](int yields) -> task<result<int>> {
        const int a = co_await or_return(gives(yields, 1));
        const int b = co_await or_return(at_once{2});
        co_await or_return(sleep_for(0s));
        co_return a + b;
    };
    for (const int yields : {0, 1, 3}) {
        const auto got = co_await sum(yields);
        CHECK(*got == 3);
    }
}

SLUICE_TEST_CASE("or_return: an error ends the task, nothing after it runs") {
    bool went_on = false;
    const auto ends = [&](int yields_before, int yields) -> task<result<std::string>> {
        for (int i = 0; i < yields_before; ++i) co_await yield();
        const int n = co_await or_return(fails(yields));
        went_on = true;
        co_return std::to_string(n);
    };
    for (const int before : {0, 2})
        for (const int yields : {0, 2}) {
            const auto got = co_await ends(before, yields);
            REQUIRE(got.has_error());
            CHECK(got.error() == sluice::error::truncated);
        }
    CHECK_FALSE(went_on);
    const auto primitive = [&]() -> task<result<void>> {
        static_cast<void>(co_await or_return(
            at_once{{boost::system::in_place_error, sluice::errno_error(EPIPE)}}));
        went_on = true;
        co_return result<void>{};
    };
    const auto got = co_await primitive();
    CHECK(got.error() == sluice::errno_error(EPIPE));
    CHECK_FALSE(went_on);
}

SLUICE_TEST_CASE("or_return: locals are destroyed in order before the await returns") {
    for (const int yields : {0, 2}) {
        std::string trace;
        const auto body = [&](trace_end) -> task<result<int>> {
            const trace_end outer{trace, 'a'};
            {
                const trace_end inner{trace, 'b'};
                static_cast<void>(co_await or_return(fails(yields)));
            }
            trace += '!';
            co_return 1;
        };
        auto kept = body(trace_end{trace, 'p'});
        trace.clear();
        const auto got = co_await std::move(kept);  // the task object lives on
        CHECK(got.has_error());
        CHECK(trace == "bap");
    }
}

SLUICE_TEST_CASE("or_return: through several tasks, and each await frees what it used") {
    census book;
    struct local {
        static task<result<int>> level(census& c, int depth, int yields) {
            const counted here{c};
            if (depth == 0) co_return co_await fails(yields);
            const int n = co_await or_return(level(c, depth - 1, yields));
            co_return n;
        }
    };
    reactor& home = co_await sluice::this_coro::reactor();
    const auto frames = home.stats().live_frames;
    for (const int yields : {0, 1}) {
        const auto got = co_await local::level(book, 100, yields);
        CHECK(got.error() == sluice::error::truncated);
        CHECK(book.balanced());
        CHECK(home.stats().live_frames == frames);
    }
}

SLUICE_TEST_CASE("or_return: an exception of what is awaited is thrown in the task") {
    for (const int yields : {0, 2}) {
        const auto catches = [&]() -> task<result<int>> {
            int n = 0;
            try {
                n = co_await or_return(throws(yields));
            } catch (const std::runtime_error&) {
                n = 7;
            }
            co_return n;
        };
        const auto got = co_await catches();
        CHECK(*got == 7);
    }
}

SLUICE_TEST_CASE("or_return: no catch of the task sees the error") {
    bool caught = false;
    const auto body = [&]() -> task<result<int>> {
        try {
            co_return co_await or_return(fails(1));
        } catch (...) {
            caught = true;
        }
        co_return 1;
    };
    const auto got = co_await body();
    CHECK(got.error() == sluice::error::truncated);
    CHECK_FALSE(caught);
}

SLUICE_TEST_CASE("or_return: a stop before it begins and in flight ends the task with ECANCELED") {
    for (const bool before : {true, false}) {
        result<int> got{0};
        const auto body = []() -> task<result<int>> {
            co_await or_return(sleep_for(1h));
            co_return 1;
        };
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            if (before) n.request_stop();
            n.spawn([&]() -> task<> { got = co_await body(); });
            co_await yield();
            co_await yield();
            n.request_stop();
        });
        CHECK(done.has_value());
        CHECK(got.error() == cancelled_error());
    }
    const auto limited = co_await with_timeout(1ms, []() -> task<result<int>> {
        co_await or_return(sleep_for(1h));
        co_return 1;
    }());
    CHECK(limited.error() == sluice::error::timeout);
}

SLUICE_TEST_CASE("or_return: in children of nurseries and in branches") {
    const auto body = [](int yields) -> task<result<int>> {
        const int n = co_await or_return(fails(yields));
        co_return n;
    };
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn(body, 1);
        co_return;
    });
    CHECK(done.error() == sluice::error::truncated);
    auto both = co_await sluice::when_all(body(0), body(2));
    CHECK(std::get<0>(both).error() == sluice::error::truncated);
    CHECK(std::get<1>(both).error() == sluice::error::truncated);
}

SLUICE_TEST_CASE("or_return: what is there at once spends the budget, so that others run") {
    bool other_ran = false;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            other_ran = true;
            co_return;
        });
        const auto greedy = [&]() -> task<result<int>> {
            int rounds = 0;
            while (!other_ran && rounds < 100'000) rounds += co_await or_return(at_once{1});
            co_return rounds;
        };
        const auto rounds = co_await greedy();
        CHECK(*rounds < 1000);
    });
    CHECK(done.has_value());
    CHECK(other_ran);
}

SLUICE_TEST_CASE("or_return: nothing is allocated") {
    const auto body = [](bool fail) -> task<result<int>> {
        co_await or_return(sleep_for(0s));
        const int a = co_await or_return(at_once{1});
        if (fail) static_cast<void>(co_await or_return(fails(1)));
        const int b = co_await or_return(gives(1, 2));
        co_return a + b;
    };
    static_cast<void>(co_await body(true));
    static_cast<void>(co_await body(false));
    const auto allocated = sluice::testing::allocations();
    for (int i = 0; i < 50; ++i) static_cast<void>(co_await body(i % 2 == 0));
    CHECK(sluice::testing::allocations() == allocated);
}

TEST_CASE("or_return: an abandoned reactor destroys what waits in it") {
    census book;
    const auto home = sluice::testing::make_reactor();
    home->spawn([&]() -> task<result<void>> {
        const counted here{book};
        co_await or_return(sleep_for(1h));
        co_return result<void>{};
    });
    home->spawn([&]() -> task<> {
        co_await yield();
        home->abandon();
    });
    home->run();
    CHECK(book.balanced());
    sluice::testing::check_books(home->stats());
}
