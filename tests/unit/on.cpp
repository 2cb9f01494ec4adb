// SPDX-License-Identifier: Apache-2.0
#include "sluice/on.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sluice/task_dump.hpp"
#include "sluice/timeout.hpp"
#include "support/allocation_count.hpp"
#include "support/cores.hpp"
#include "support/counted.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::nursery;
using sluice::on;
using sluice::reactor;
using sluice::result;
using sluice::service;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;
using sluice::testing::check_mesh;
using sluice::testing::cores;
using sluice::testing::on_cores;
using sluice::testing::run_service;

namespace {

unsigned here() { return reactor::current()->index(); }

bool is_cancelled(const auto& r) { return r.has_error() && r.error() == cancelled_error(); }

task<unsigned> here_later(int yields) {
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return here();
}

}  // namespace

TEST_CASE("on: plain functions, tasks and awaitables, here and there") {
    on_cores(2, []() -> task<> {
        for (const unsigned i : {0U, 1U}) {
            CAPTURE(i);
            result<unsigned> plain = co_await on(i, here);
            CHECK(plain.value() == i);
            result<unsigned> later = co_await on(i, here_later, 3);
            CHECK(later.value() == i);
            result<unsigned> at_once = co_await on(i, here_later, 0);
            CHECK(at_once.value() == i);
            result<void> slept = co_await on(i, [] { return sleep_for(1us); });
            CHECK(slept.has_value());
            result<int> nested = co_await on(i, [i]() -> task<result<int>> {
                auto back = co_await on(1 - i, [] { return int(here()); });
                co_return back;
            });
            CHECK(nested.value() == int(1 - i));
            int ran = 0;
            result<void> nothing = co_await on(i, [&ran] { ++ran; });
            CHECK(nothing.has_value());
            CHECK(ran == 1);
            result<int> failed = co_await on(i, []() -> task<result<int>> {
                co_await yield();
                co_return result<int>{sluice::errno_error(EPROTO)};
            });
            CHECK(failed.error() == boost::system::errc::protocol_error);
            CHECK(here() == 0);
        }
    });
}

TEST_CASE("on: arguments are moved there, references stay, values that only move come back") {
    on_cores(2, []() -> task<> {
        std::string text = "from 0";
        auto got = co_await on(
            1,
            [](std::unique_ptr<int> p, std::string& t) -> task<std::unique_ptr<int>> {
                co_await yield();
                t += ", seen by 1";
                ++*p;
                co_return p;
            },
            std::make_unique<int>(6), std::ref(text));
        CHECK(**got == 7);
        CHECK(text == "from 0, seen by 1");
    });
}

TEST_CASE("on: exceptions cross, from functions, from tasks at once and later") {
    on_cores(2, []() -> task<> {
        for (const unsigned i : {0U, 1U}) {
            auto plain = on(i, []() -> int { throw std::runtime_error("plain"); });
            auto now = on(i, []() -> task<int> {
                throw std::runtime_error("now");
                co_return 1;
            });
            auto later = on(i, []() -> task<> {
                co_await yield();
                throw std::runtime_error("later");
            });
            std::string caught;
            try {
                static_cast<void>(co_await plain);
            } catch (const std::runtime_error& e) {
                caught += e.what();
            }
            try {
                static_cast<void>(co_await now);
            } catch (const std::runtime_error& e) {
                caught += e.what();
            }
            try {
                static_cast<void>(co_await later);
            } catch (const std::runtime_error& e) {
                caught += e.what();
            }
            CHECK(caught == "plainnowlater");
        }
    });
}

TEST_CASE("on: what belongs to the target is freed by the target") {
    on_cores(2, []() -> task<> {
        std::thread::id made;
        std::thread::id gone;
        struct local {
            std::thread::id& gone;
            ~local() { gone = std::this_thread::get_id(); }
        };
        auto done = co_await on(1, [&]() -> task<> {
            const local object{gone};
            made = std::this_thread::get_id();
            co_await yield();
        });
        CHECK(done.has_value());
        CHECK(made != std::this_thread::get_id());
        CHECK(gone == made);
    });
}

TEST_CASE("on: broken preconditions") {
    on_cores(2, []() -> task<> {
        bool caught = false;
        try {
            static_cast<void>(co_await on(2, here));
        } catch (const std::out_of_range&) {
            caught = true;
        }
        CHECK(caught);
    });
    sluice::testing::run([]() -> task<> {
        auto own = co_await on(0, here);
        CHECK(own.value() == 0);
        bool caught = false;
        try {
            static_cast<void>(co_await on(1, here));
        } catch (const std::logic_error&) {
            caught = true;
        }
        CHECK(caught);
    });
}

TEST_CASE("on: cancelled before it started, nothing runs") {
    on_cores(2, []() -> task<> {
        std::atomic<int> ran{0};
        for (const unsigned i : {0U, 1U}) {
            auto outcome = co_await with_nursery([&](nursery& n) -> task<> {
                n.request_stop();
                auto plain = co_await on(i, [&] { ++ran; });
                CHECK(is_cancelled(plain));
                auto later = co_await on(i, [&]() -> task<> {
                    ++ran;
                    co_return;
                });
                CHECK(is_cancelled(later));
            });
            CHECK(outcome.has_value());
        }
        CHECK(ran.load() == 0);
    });
}

namespace {

//! Cancels `part` when it has begun.
template <class Part>
task<result<int>> cancel_once(const std::atomic<bool>& begun, Part part) {
    result<int> ended = 0;
    auto outcome = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> { ended = co_await std::move(part); });
        while (!begun) co_await yield();
        n.request_stop();
    });
    CHECK(outcome.has_value());
    co_return ended;
}

}  // namespace

TEST_CASE("on: cancelled in flight, the remote part is cancelled and waited for") {
    on_cores(2, []() -> task<> {
        for (const unsigned i : {0U, 1U}) {
            std::atomic<bool> begun{false};
            bool ended = false;
            auto part = on(i, [&]() -> task<result<int>> {
                begun = true;
                auto slept = co_await sleep_for(1h);
                for (int n = 0; n < 20; ++n) co_await yield();
                ended = true;
                if (slept) co_return 1;
                co_return slept.error();
            });
            const auto outcome = co_await cancel_once(begun, std::move(part));
            CHECK(is_cancelled(outcome));
            CHECK(ended);
            // It may give a value all the same.
            std::atomic<bool> begun_too{false};
            auto stubborn = on(i, [&begun_too]() -> task<result<int>> {
                begun_too = true;
                static_cast<void>(co_await sleep_for(1h));
                co_return 5;
            });
            const auto value = co_await cancel_once(begun_too, std::move(stubborn));
            CHECK(value.value() == 5);
        }
    });
}

TEST_CASE("on: a stop that races with the end, many times") {
    const auto report = on_cores(2, []() -> task<> {
        int values = 0;
        int cancels = 0;
        for (int round = 0; round < 3000; ++round) {
            auto outcome = co_await with_nursery([&, round](nursery& n) -> task<> {
                n.spawn([&, round]() -> task<> {
                    auto r = co_await on(1, [round]() -> task<result<int>> {
                        for (int i = 0; i < round % 5; ++i) co_await yield();
                        auto slept = co_await sleep_for(std::chrono::microseconds(round % 3));
                        if (!slept) co_return slept.error();
                        co_return round;
                    });
                    if (r) {
                        CHECK(*r == round);
                        ++values;
                    } else {
                        CHECK(is_cancelled(r));
                        ++cancels;
                    }
                });
                for (int i = 0; i < round % 7; ++i) co_await yield();
                if (round % 2 == 0)
                    static_cast<void>(co_await sleep_for(std::chrono::microseconds(round % 60)));
                n.request_stop();
            });
            static_cast<void>(outcome);
        }
        CHECK(values + cancels == 3000);
        CHECK(cancels > 0);
    });
    CHECK(report.reactors[0].stats.messages_sent >= 3000);
}

TEST_CASE("on: calls of one reactor begin in order, and wait when the queue is full") {
    auto options = cores(2);
    options.reactor.call_queue = 2;
    service s(options);
    const auto report = run_service(s, []() -> task<> {
        std::vector<int> order;
        auto outcome = co_await with_nursery([&](nursery& n) -> task<> {
            for (int i = 0; i < 500; ++i)
                n.spawn([&order, i]() -> task<> {
                    auto done = co_await on(1, [&order, i] { order.push_back(i); });
                    CHECK(done.has_value());
                });
            co_return;
        });
        CHECK(outcome.has_value());
        REQUIRE(order.size() == 500);
        for (int i = 0; i < 500; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
    });
    CHECK(report.reactors[0].stats.call_queue_waits >= 400);
    CHECK(report.reactors[1].stats.call_queue_waits == 0);
}

TEST_CASE("on: cancelled in line for a full queue: never sent, the others go on") {
    auto options = cores(2);
    options.reactor.call_queue = 1;
    service s(options);
    run_service(s, []() -> task<> {
        std::atomic<int> ran{0};
        int cancelled = 0;
        auto outcome = co_await with_nursery([&](nursery& outer) -> task<> {
            for (int i = 0; i < 50; ++i)
                outer.spawn([&]() -> task<> {
                    auto r = co_await on(1, [&] { ++ran; });
                    CHECK(r.has_value());
                });
            static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
                for (int i = 0; i < 50; ++i)
                    n.spawn([&]() -> task<> {
                        auto r = co_await on(1, [&] { ++ran; });
                        if (is_cancelled(r)) ++cancelled;
                    });
                co_await yield();
                co_await yield();
                n.request_stop();
            }));
        });
        CHECK(outcome.has_value());
        CHECK(cancelled > 0);
        CHECK(ran.load() + cancelled == 100);
    });
}

namespace {

//! Each step is a call to the next reactor from within the one before.
task<result<int>> around(int steps) {
    if (steps == 0) co_return 0;
    auto rest = co_await on((here() + 1) % 4, around, steps - 1);
    if (!rest) co_return rest.error();
    co_return *rest + 1;
}

}  // namespace

TEST_CASE("on: full queues in a ring of reactors do not deadlock") {
    auto options = cores(4);
    options.reactor.call_queue = 1;
    service s(options);
    std::atomic<int> done{0};
    auto report = s.run([&](reactor&) -> task<> {
        auto outcome = co_await with_nursery([&](nursery& n) -> task<> {
            for (int i = 0; i < 100; ++i)
                n.spawn([&]() -> task<> {
                    for (int round = 0; round < 5; ++round) {
                        auto r = co_await around(9);
                        if (r && *r == 9) ++done;
                    }
                });
            co_return;
        });
        CHECK(outcome.has_value());
    });
    REQUIRE(report.has_value());
    check_mesh(*report);
    CHECK(done.load() == 4 * 100 * 5);
    std::uint64_t waits = 0;
    for (const auto& r : report->reactors) waits += r.stats.call_queue_waits;
    CHECK(waits >= 4 * 99);  // of the first turn alone
}

TEST_CASE("on: one wake-up serves a whole batch") {
    auto report = on_cores(2, []() -> task<> {
        for (int round = 0; round < 50; ++round) {
            static_cast<void>(co_await sleep_for(1ms));  // lets the other fall asleep
            static_cast<void>(co_await with_nursery([](nursery& n) -> task<> {
                for (int i = 0; i < 100; ++i)
                    n.spawn([]() -> task<> { static_cast<void>(co_await on(1, here)); });
                co_return;
            }));
        }
    });
    CHECK(report.reactors[0].stats.messages_sent >= 5000);
    CHECK(report.reactors[0].stats.wake_ups_sent < 500);
    CHECK(report.reactors[0].stats.wake_ups_sent > 0);
    CHECK(report.reactors[1].stats.wake_ups > 0);
}

TEST_CASE("on: both ways of waking work") {
    for (const auto method : {sluice::wake_method::msg_ring, sluice::wake_method::event_fd}) {
        auto options = cores(2);
        options.reactor.cross_core_wake = method;
        service s(options);
        auto report = run_service(s, []() -> task<> {
            for (int i = 0; i < 200; ++i) {
                auto r = co_await on(1, here_later, i % 3);
                CHECK(r.value() == 1);
            }
        });
        CHECK(report.reactors[0].stats.wake_ups_sent > 0);
    }
}

TEST_CASE("on: calls cost no allocation in the steady state") {
    if (!sluice::testing::allocations_are_counted) return;
    on_cores(2, []() -> task<> {
        for (int i = 0; i < 100; ++i) static_cast<void>(co_await on(1, here_later, 1));
        static_cast<void>(co_await on(1, here));
        const auto before = sluice::testing::allocations();
        for (int i = 0; i < 1000; ++i) {
            auto r = co_await on(1, here_later, 1);
            if (!r) co_return;
            auto plain = co_await on(1, here);
            if (!plain) co_return;
        }
        CHECK(sluice::testing::allocations() == before);
    });
}

TEST_CASE("on: a reactor with nothing to do stays while others may call it") {
    // co_main of reactor 1 has ended long before.
    on_cores(3, []() -> task<> {
        static_cast<void>(co_await sleep_for(20ms));
        for (int i = 0; i < 10; ++i) {
            auto r = co_await on(1, []() -> task<unsigned> {
                static_cast<void>(co_await sleep_for(1ms));
                auto further = co_await on(2, here);
                co_return *further + here();
            });
            CHECK(r.value() == 3);
        }
        // What a remote part leaves behind keeps the service as well.
        auto left = co_await on(1, [] {
            reactor::current()->spawn([]() -> task<> {
                static_cast<void>(co_await sleep_for(20ms));
                auto r = co_await on(2, here);
                CHECK(r.value() == 2);
            });
        });
        CHECK(left.has_value());
    });
}

TEST_CASE("on: a task dump shows the caller's end and the target's") {
    on_cores(2, []() -> task<> {
        std::string there;
        std::string at_home;
        std::atomic<bool> seen{false};
        bool answered = false;
        auto outcome = co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&]() -> task<> {
                auto r = co_await on(1, [&]() -> task<> {
                    there = sluice::dump_tasks(*reactor::current()).to_string();
                    while (!seen) static_cast<void>(co_await sleep_for(100us));
                    there = sluice::dump_tasks(*reactor::current()).to_string();
                });
                CHECK(r.has_value());
                answered = true;
            });
            n.spawn([&]() -> task<> {  // at home: what is awaited inside
                auto r = co_await on(0, [] { return sleep_for(1h); });
                CHECK(!r.has_value());
            });
            static_cast<void>(co_await sleep_for(1ms));
            at_home = sluice::dump_tasks(*reactor::current()).to_string();
            seen = true;
            while (!answered) static_cast<void>(co_await sleep_for(100us));
            n.request_stop();
        });
        CHECK(outcome.has_value());
        INFO(at_home, there);
        CHECK(at_home.find("for a call to reactor 1") != std::string::npos);
        CHECK(at_home.find("for sleep") != std::string::npos);
        CHECK(there.find("reactor 1: 1 tasks") != std::string::npos);
    });
}

TEST_CASE("on: stops in the middle of calls, at every point of them") {
    for (int round = 0; round < 40; ++round) {
        auto options = cores(3);
        options.drain_timeout = 1ms;
        options.reactor.call_queue = 4;
        service s(options);
        std::atomic<std::uint64_t> calls{0};
        auto started = s.start([&](reactor& home) -> task<> {
            const unsigned next = (home.index() + 1) % 3;
            for (int i = 0; i < 20; ++i)
                home.spawn([&calls, next]() -> task<> {
                    for (;;) {
                        auto r = co_await on(next, [next]() -> task<result<int>> {
                            auto further = co_await on((next + 1) % 3, here);
                            if (!further) co_return further.error();
                            auto slept = co_await sleep_for(50us);
                            if (!slept) co_return slept.error();
                            co_return 1;
                        });
                        ++calls;
                        if (!r) co_return;
                    }
                });
            co_return;
        });
        REQUIRE(started.has_value());
        std::this_thread::sleep_for(std::chrono::microseconds(200 * round));
        s.request_stop();
        const auto report = s.wait();
        check_mesh(report);
        CHECK(calls.load() > 0);
    }
}

TEST_CASE("on: remote parts that ignore every stop are destroyed at the hard deadline") {
    for (int round = 0; round < 5; ++round) {
        auto options = cores(3);
        options.drain_timeout = 1ms;
        options.cancel_timeout = 20ms;
        service s(options);
        std::atomic<int> alive{0};
        struct guard {
            std::atomic<int>& n;
            explicit guard(std::atomic<int>& count) : n(count) { ++n; }
            ~guard() { --n; }
        };
        auto started = s.start([&](reactor& home) -> task<> {
            for (int i = 0; i < 5; ++i)
                home.spawn([&alive, &home]() -> task<> {
                    const guard caller(alive);
                    auto r = co_await on((home.index() + 1) % 3, [&alive]() -> task<> {
                        const guard part(alive);
                        auto inner = co_await on((here() + 1) % 3, [&alive]() -> task<> {
                            const guard last(alive);
                            for (;;) {
                                static_cast<void>(co_await sleep_for(1ms));
                                co_await yield();
                            }
                        });
                        static_cast<void>(inner);
                    });
                    static_cast<void>(r);
                });
            co_return;
        });
        REQUIRE(started.has_value());
        while (alive.load() < 45) std::this_thread::sleep_for(1ms);
        s.request_stop();
        const auto report = s.wait();
        CHECK(alive.load() == 0);
        std::uint64_t destroyed = 0;
        for (const auto& r : report.reactors) {
            destroyed += r.tasks_destroyed;
            CHECK(r.live_frames == 0);
            CHECK(r.live_operations == 0);
        }
        // The innermost parts; whoever hears of their end before its own reactor's may end well.
        CHECK(destroyed >= 15);
        CHECK(destroyed <= 45);
    }
}
