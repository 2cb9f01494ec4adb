// SPDX-License-Identifier: Apache-2.0
#include "sluice/background.hpp"

#include <memory>
#include <stdexcept>
#include <utility>

#include "support/child.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::background;
using sluice::nursery;
using sluice::on_failure;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::yield;

namespace {

//! As a user would write it.
class session {
public:
    explicit session(reactor& home) : bg_(home) {}

    void start() {
        bg_.spawn(&session::beat, this);
        bg_.spawn(&session::beat, this);
    }
    task<result<void>> close() { return bg_.stop(); }

    int beats = 0;
    int ended = 0;

private:
    task<> beat() {
        for (;;) {
            const auto slept = co_await sleep_for(100us);
            if (!slept) break;
            ++beats;
        }
        co_await yield();
        ++ended;
    }

    background bg_;
};

}  // namespace

SLUICE_TEST_CASE("background: stop() cancels its tasks and waits for them") {
    reactor& home = co_await sluice::this_coro::reactor();
    session s(home);
    s.start();
    while (s.beats < 3) co_await yield();
    const auto stopped = co_await s.close();
    CHECK(stopped.has_value());
    CHECK(s.ended == 2);
    const auto again = co_await s.close();
    CHECK(again.has_value());
}

SLUICE_TEST_CASE("background: without tasks, stopped or joined or neither, it just goes") {
    reactor& home = co_await sluice::this_coro::reactor();
    { background unused(home); }
    background bg(home);
    const auto joined = co_await bg.join();
    CHECK(joined.has_value());
    const auto stopped = co_await bg.stop();
    CHECK(stopped.has_value());
}

SLUICE_TEST_CASE(
    "background: join() waits for those that are spawned meanwhile, and cancels none") {
    reactor& home = co_await sluice::this_coro::reactor();
    background bg(home);
    int finished = 0;
    bg.spawn([&]() -> task<> {
        co_await yield();
        bg.spawn([&]() -> task<> {
            const auto slept = co_await sleep_for(1ms);
            finished += slept ? 1 : 0;
        });
    });
    const auto joined = co_await bg.join();
    CHECK(joined.has_value());
    CHECK(finished == 1);
    CHECK(bg.tasks() == 0);
}

SLUICE_TEST_CASE("background: a task that is spawned after the stop starts cancelled") {
    reactor& home = co_await sluice::this_coro::reactor();
    background bg(home);
    const auto stopped = co_await bg.stop();
    CHECK(stopped.has_value());
    bool cancelled = false;
    bg.spawn([&]() -> task<> {
        const auto slept = co_await sleep_for(1h);
        cancelled = !slept;
    });
    const auto again = co_await bg.stop();
    CHECK(again.has_value());
    CHECK(cancelled);
}

SLUICE_TEST_CASE("background: by default a failure is collected") {
    reactor& home = co_await sluice::this_coro::reactor();
    background bg(home);
    bool finished = false;
    bg.spawn([]() -> task<> {
        co_await yield();
        throw std::runtime_error("collected");
    });
    bg.spawn([&]() -> task<> {
        const auto slept = co_await sleep_for(1ms);
        finished = slept.has_value();
    });
    const auto joined = co_await bg.join();
    CHECK(joined.has_value());
    CHECK(finished);
    CHECK(bg.scope().failures() == 1);
}

SLUICE_TEST_CASE("background: with cancel_all stop() and join() give the cause, not ECANCELED") {
    reactor& home = co_await sluice::this_coro::reactor();
    for (const bool join : {false, true}) {
        background bg(home, {.policy = on_failure::cancel_all});
        bg.spawn([]() -> task<result<void>> { co_return co_await sleep_for(1h); });
        bg.spawn([]() -> task<result<void>> {
            co_await yield();
            co_return make_error_code(sluice::error::truncated);
        });
        if (!join)
            while (bg.scope().failures() == 0) co_await yield();
        auto end = join ? bg.join() : bg.stop();
        auto ended = co_await std::move(end);
        REQUIRE(ended.has_error());
        CHECK(ended.error() == sluice::error::truncated);
    }
    background bg(home, {.policy = on_failure::cancel_all});
    bg.spawn([]() -> task<result<void>> { co_return co_await sleep_for(1h); });
    const auto stopped = co_await bg.stop();
    CHECK(stopped.has_value());
}

SLUICE_TEST_CASE("background: the stop of the chain outside goes through join(); stop() bears it") {
    reactor& home = co_await sluice::this_coro::reactor();
    for (const bool join : {false, true}) {
        background bg(home);
        int cancelled = 0;
        bg.spawn([&]() -> task<> {
            const auto slept = co_await sleep_for(1h);
            for (int i = 0; i < 5; ++i) co_await yield();
            cancelled += slept ? 0 : 1;
        });
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&]() -> task<> {
                auto end = join ? bg.join() : bg.stop();
                const auto ended = co_await std::move(end);
                CHECK(ended.has_value());
                CHECK(cancelled == 1);
            });
            co_await yield();
            n.request_stop();
        });
        CHECK(done.has_value());
        CHECK(bg.tasks() == 0);
    }
}

SLUICE_TEST_CASE("background: the bound of its tasks") {
    reactor& home = co_await sluice::this_coro::reactor();
    background bg(home, {.policy = on_failure::collect, .max_children = 2});
    int ran = 0;
    for (int i = 0; i < 10; ++i) {
        const auto spawned = co_await bg.spawn_when_room([&ran]() -> task<> {
            co_await yield();
            ++ran;
        });
        CHECK(spawned.has_value());
        CHECK(bg.tasks() <= 2);
    }
    const auto joined = co_await bg.join();
    CHECK(joined.has_value());
    CHECK(ran == 10);
}

TEST_CASE("background: destroying it with tasks running ends the program and says what to do") {
    sluice::testing::expect_death(
        [] {
            sluice::testing::run([](reactor& home) -> task<> {
                background bg(home);
                bg.spawn([]() -> task<> { static_cast<void>(co_await sleep_for(1h)); });
                co_await yield();
            });
        },
        "sluice: fatal: a background of reactor 0 was destroyed with 1 tasks.*co_await its stop");
}

TEST_CASE("background: an abandoned reactor takes it down with its tasks") {
    const auto home = sluice::testing::make_reactor();
    home->spawn([&]() -> task<> {
        background bg(*home);
        bg.spawn([]() -> task<> {
            for (;;) co_await yield();
        });
        for (;;) co_await yield();
    });
    home->spawn([&]() -> task<> {
        home->abandon();
        co_return;
    });
    home->run();
    sluice::testing::check_books(home->stats());
}
