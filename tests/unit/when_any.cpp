// SPDX-License-Identifier: Apache-2.0
#include "sluice/when_any.hpp"

#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sluice/when_all.hpp"
#include "support/allocation_count.hpp"
#include "support/child.hpp"
#include "support/counted.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::environment;
using sluice::nursery;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::when_any;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;
using sluice::testing::census;
using sluice::testing::counted;

namespace {

//! A source of numbers, as a connection is one of bytes: woken when there is one, taken from when
//! resumed. With `polite` it says that a woken wait has taken nothing.
class source {
public:
    void push(int n) {
        numbers_.push_back(n);
        if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->wake();
    }
    [[nodiscard]] std::size_t size() const { return numbers_.size(); }
    [[nodiscard]] bool waited_for() const { return waiter_ != nullptr; }

    template <bool Polite>
    class [[nodiscard]] waits final : public sluice::detail::waiter {
    public:
        static constexpr bool takes_on_resume = Polite;

        explicit waits(source& from) : from_(from) {}
        bool await_ready() const { return !from_.numbers_.empty(); }
        bool await_suspend(std::coroutine_handle<> h, const environment& env) {
            cancelled_ = env.stop.stop_requested();
            if (cancelled_) {
                yield(h, env);
                return true;
            }
            from_.waiter_ = this;
            wait(h, env);
            return true;
        }
        result<int> await_resume() {
            if (cancelled_) return {boost::system::in_place_error, cancelled_error()};
            const int n = from_.numbers_.front();
            from_.numbers_.pop_front();
            return n;
        }
        void on_stop() noexcept override {
            cancelled_ = true;
            from_.waiter_ = nullptr;
            wake();
        }

    private:
        source& from_;
        bool cancelled_ = false;
    };
    waits<true> take() { return waits<true>{*this}; }
    waits<false> take_reported() { return waits<false>{*this}; }

private:
    std::deque<int> numbers_;
    sluice::detail::waiter* waiter_ = nullptr;
};

task<result<int>> number_after(int yields, int n) {
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return n;
}

//! Ends when it is told to, `yields` later, with a value.
task<result<int>> stubborn(int yields, int n) {
    static_cast<void>(co_await sleep_for(1h));
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return n;
}

task<result<int>> obedient() {
    const auto slept = co_await sleep_for(1h);
    if (!slept) co_return slept.error();
    co_return 0;
}

task<> throws(int yields, const char* what) {
    for (int i = 0; i < yields; ++i) co_await yield();
    throw std::runtime_error(what);
}

task<> for_ever() {
    for (;;) co_await yield();
}

}  // namespace

SLUICE_TEST_CASE("when_any: the first to end is given, the others are cancelled") {
    source s;
    auto raced = co_await when_any(s.take(), number_after(2, 5), obedient(), sleep_for(1h));
    CHECK(raced.index == 1);
    REQUIRE(raced.has<1>());
    CHECK(*raced.get<1>() == 5);
    CHECK_FALSE(raced.has<0>());
    CHECK_FALSE(raced.has<2>());
    CHECK_FALSE(raced.has<3>());
    CHECK_FALSE(s.waited_for());
    s.push(1);
    const auto next = co_await s.take();
    CHECK(*next == 1);
}

SLUICE_TEST_CASE("when_any: a primitive operation wins, and takes") {
    source s;
    auto raced = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            auto won = co_await when_any(sleep_for(1h), s.take());
            CHECK(won.index == 1);
            CHECK(*won.get<1>() == 42);
        });
        co_await yield();
        co_await yield();
        CHECK(s.waited_for());
        s.push(42);
    });
    CHECK(raced.has_value());
    CHECK(s.size() == 0);
}

SLUICE_TEST_CASE("when_any: of two that are woken in one turn the second has taken nothing") {
    source a;
    source b;
    int winner = -1;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            auto won = co_await when_any(a.take(), b.take());
            CHECK(won.index == 1);
            CHECK_FALSE(won.has<0>());
            winner = *won.get<1>();
        });
        co_await yield();
        co_await yield();
        b.push(2);  // both on the ready list from here on
        a.push(1);
    });
    CHECK(done.has_value());
    CHECK(winner == 2);
    REQUIRE(a.size() == 1);
    const auto kept = co_await a.take();
    CHECK(*kept == 1);
}

SLUICE_TEST_CASE("when_any: the same through wrappers, which pass on what they wrap") {
    source a;
    source b;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            auto won = co_await when_any(with_timeout(1h, a.take()), b.take());
            CHECK(won.index == 1);
            CHECK_FALSE(won.has<0>());
        });
        co_await yield();
        co_await yield();
        b.push(2);
        a.push(1);
    });
    CHECK(done.has_value());
    CHECK(a.size() == 1);
    CHECK(b.size() == 0);
    static_assert(!sluice::takes_on_resume<task<result<int>>>);
    static_assert(!sluice::takes_on_resume<decltype(with_timeout(1s, number_after(0, 0)))>);
    static_assert(sluice::takes_on_resume<decltype(with_timeout(1s, sleep_for(1s)))>);
}

SLUICE_TEST_CASE("when_any: a loser that doesn't promise to have taken nothing is asked") {
    source a;
    source b;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            auto won = co_await when_any(a.take_reported(), b.take());
            CHECK(won.index == 1);
            REQUIRE(won.has<0>());
            CHECK(*won.get<0>() == 1);
            CHECK(*won.get<1>() == 2);
        });
        co_await yield();
        co_await yield();
        b.push(2);
        a.push(1);
    });
    CHECK(done.has_value());
    CHECK(a.size() + b.size() == 0);
}

SLUICE_TEST_CASE("when_any: a task that completed although it lost is beside the winner") {
    auto raced = co_await when_any(stubborn(10, 1), number_after(1, 2), obedient());
    CHECK(raced.index == 1);
    REQUIRE(raced.has<0>());
    CHECK(*raced.get<0>() == 1);
    CHECK(*raced.get<1>() == 2);
    CHECK_FALSE(raced.has<2>());
    // An error that isn't the cancelling is kept too.
    auto other = co_await when_any(sleep_for(0s), []() -> task<result<int>> {
        static_cast<void>(co_await sleep_for(1h));
        co_return sluice::error::truncated;
    }());
    CHECK(other.index == 0);
    REQUIRE(other.has<1>());
    CHECK(other.get<1>().error() == sluice::error::truncated);
}

SLUICE_TEST_CASE("when_any: when one is there at once, those after it are not started") {
    source s;
    s.push(1);
    bool started = false;
    const auto starts = [&]() -> task<> {
        started = true;
        co_return;
    };
    auto raced = co_await when_any(s.take(), starts(), sleep_for(1h));
    CHECK(raced.index == 0);
    CHECK(*raced.get<0>() == 1);
    CHECK_FALSE(started);
    CHECK_FALSE(raced.has<1>());
    s.push(2);
    auto second = co_await when_any(sleep_for(1h), s.take());
    CHECK(second.index == 1);
    CHECK(s.size() == 0);
}

SLUICE_TEST_CASE("when_any: an error or an exception ends it too") {
    reactor& home = co_await sluice::this_coro::reactor();
    const auto before = home.stats().task_failures;
    auto failed = co_await when_any(obedient(), []() -> task<result<int>> {
        co_await yield();
        co_return sluice::error::truncated;
    }());
    CHECK(failed.index == 1);
    CHECK(failed.get<1>().error() == sluice::error::truncated);
    std::string what;
    try {
        static_cast<void>(co_await when_any(throws(3, "late"), throws(1, "first"), obedient()));
    } catch (const std::runtime_error& e) {
        what = e.what();
    }
    CHECK(what == "first");
    CHECK(home.stats().task_failures == before + 1);  // the late one
    auto won = co_await when_any(number_after(1, 1), throws(3, "loses"));
    CHECK(won.index == 0);
    CHECK(home.stats().task_failures == before + 2);
}

SLUICE_TEST_CASE("when_any: a stop of the chain outside, before it begins and in flight") {
    source s;
    s.push(1);
    for (const bool before : {true, false}) {
        int ended = 0;
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            if (before) n.request_stop();
            n.spawn([&]() -> task<> {
                source empty;
                source& from = before ? s : empty;
                auto raced = co_await when_any(from.take(), obedient());
                CHECK(raced.index == 0);
                CHECK(raced.get<0>().error() == cancelled_error());
                ++ended;
            });
            co_await yield();
            co_await yield();
            n.request_stop();
        });
        CHECK(done.has_value());
        CHECK(ended == 1);
    }
    CHECK(s.size() == 1);
}

SLUICE_TEST_CASE("when_any: a vector") {
    std::vector<task<result<int>>> tasks;
    tasks.push_back(obedient());
    tasks.push_back(stubborn(3, 10));
    tasks.push_back(number_after(1, 20));
    tasks.push_back(number_after(1, 30));
    const auto raced = co_await when_any(std::move(tasks));
    CHECK(raced.index == 2);
    CHECK(*raced.value == 20);
    REQUIRE(raced.others.size() == 2);
    CHECK(raced.others[0].index == 1);
    CHECK(*raced.others[0].value == 10);
    CHECK(raced.others[1].index == 3);
    CHECK(*raced.others[1].value == 30);
    bool thrown = false;
    try {
        static_cast<void>(co_await when_any(std::vector<task<result<int>>>{}));
    } catch (const std::invalid_argument&) {
        thrown = true;
    }
    CHECK(thrown);
}

SLUICE_TEST_CASE("when_any: nested, with values that can only be moved") {
    census book;
    const auto boxed = [&](int yields) -> task<std::unique_ptr<counted>> {
        for (int i = 0; i < yields; ++i) co_await yield();
        co_return std::make_unique<counted>(book, yields);
    };
    {
        auto raced = co_await when_any(when_any(boxed(5), boxed(2)), boxed(9));
        CHECK(raced.index == 0);
        CHECK(raced.get<0>().index == 1);
        CHECK(raced.get<0>().get<1>()->value() == 2);
        REQUIRE(raced.has<1>());  // it ignored the stop
        CHECK(raced.get<1>()->value() == 9);
    }
    auto all = co_await sluice::when_all(when_any(boxed(1), sleep_for(1h)), sleep_for(0s));
    CHECK(std::get<0>(all).index == 0);
    all = {};
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("when_any: in a loop it allocates nothing and leaves no timer") {
    reactor& home = co_await sluice::this_coro::reactor();
    source s;
    const auto round = [&]() -> task<> {
        auto won = co_await when_any(s.take(), sleep_for(0s), sleep_for(1h));
        CHECK(won.index == 1);
    };
    co_await round();
    const auto allocated = sluice::testing::allocations();
    for (int i = 0; i < 100; ++i) co_await round();
    CHECK(sluice::testing::allocations() == allocated);
    CHECK(home.stats().live_timers == 0);
}

TEST_CASE("when_any: destroying the task that waits in it ends the program") {
    sluice::testing::expect_death(
        [] {
            sluice::testing::run([](reactor& home) -> task<> {
                sluice::stop_source stop;
                const environment env{home, stop};
                // What a coroutine type of another library might do: start a task and drop it.
                auto waiting = []() -> task<> {
                    static_cast<void>(co_await when_any(sleep_for(1h), obedient()));
                }();
                CHECK(waiting.await_suspend(std::noop_coroutine(), env));
                co_return;
            });
        },
        "sluice: fatal: a coroutine that waits in an operation was destroyed");
}

TEST_CASE("when_any: an abandoned reactor destroys the branches") {
    const auto home = sluice::testing::make_reactor();
    source s;
    home->spawn([&]() -> task<> {
        static_cast<void>(co_await when_any(s.take(), obedient(), for_ever()));
    });
    home->spawn([&]() -> task<> {
        for (int i = 0; i < 3; ++i) co_await yield();
        home->abandon();
    });
    home->run();
    sluice::testing::check_books(home->stats());
}
