// SPDX-License-Identifier: Apache-2.0
#include "sluice/nursery.hpp"

#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/counted.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::nursery_options;
using sluice::on_failure;
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

constexpr nursery_options collecting{on_failure::collect};

result<void> failure() { return make_error_code(sluice::error::truncated); }

task<result<void>> sleeps(std::chrono::nanoseconds d) { co_return co_await sleep_for(d); }

//! Sleeps until it is cancelled, and says so.
task<> waits_for_stop(int& stopped) {
    const auto slept = co_await sleep_for(1h);
    if (!slept && slept.error() == sluice::cancelled_error()) ++stopped;
}

task<result<void>> fails_after(int yields) {
    for (int i = 0; i < yields; ++i) co_await yield();
    co_return failure();
}

task<> throws_after(int yields, const char* what) {
    for (int i = 0; i < yields; ++i) co_await yield();
    throw std::runtime_error(what);
}

task<std::string> what_of(task<result<void>> scope) {
    std::string what = "nothing was thrown";
    try {
        static_cast<void>(co_await std::move(scope));
    } catch (const std::runtime_error& e) {
        what = e.what();
    }
    co_return what;
}

}  // namespace

SLUICE_TEST_CASE("nursery: children run side by side, and the scope waits for all") {
    std::vector<int> order;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 3; ++i)
            n.spawn(
                [&order](int id) -> task<> {
                    order.push_back(id);
                    co_await yield();
                    order.push_back(id + 10);
                },
                i);
        CHECK(order.empty());  // they start at the next turn
        CHECK(n.children() == 4);
        order.push_back(-1);
        co_return;
    });
    CHECK(done.has_value());
    CHECK(order == std::vector{-1, 0, 1, 2, 10, 11, 12});
}

SLUICE_TEST_CASE("nursery: without children it ends with its function") {
    const auto empty = co_await with_nursery([](nursery&) -> task<> { co_return; });
    CHECK(empty.has_value());
    const auto failed = co_await with_nursery([](nursery&) { return fails_after(0); });
    REQUIRE(failed.has_error());
    CHECK(failed.error() == sluice::error::truncated);
}

SLUICE_TEST_CASE(
    "nursery: its function is started at once, and ends it without a pass when it can") {
    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            order.push_back(1);
            static_cast<void>(co_await with_nursery([&](nursery&) -> task<> {
                order.push_back(2);
                co_return;
            }));
            order.push_back(3);
        });
        n.spawn([&]() -> task<> {
            order.push_back(4);
            co_return;
        });
        co_return;
    }));
    CHECK(order == std::vector{1, 2, 3, 4});
}

SLUICE_TEST_CASE(
    "nursery: the end of the last child goes on with who waits, before what is ready") {
    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            static_cast<void>(co_await with_nursery([&](nursery& inner) -> task<> {
                inner.spawn([&]() -> task<> {
                    order.push_back(2);
                    co_return;
                });
                co_return;
            }));
            order.push_back(3);
        });
        n.spawn([&]() -> task<> {
            order.push_back(1);
            co_await yield();  // behind the inner child
            order.push_back(4);
        });
        co_return;
    }));
    CHECK(order == std::vector{1, 2, 3, 4});
}

SLUICE_TEST_CASE("nursery: all who wait are resumed, whoever goes on first") {
    int resumed = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        static_cast<void>(co_await with_nursery([&](nursery& inner) -> task<> {
            for (int i = 0; i < 3; ++i)
                n.spawn([&]() -> task<> {
                    co_await inner.join();
                    ++resumed;
                });
            for (int i = 0; i < 3; ++i) co_await yield();
        }));
        for (int i = 0; i < 3; ++i) co_await yield();
        CHECK(resumed == 3);
    }));
}

SLUICE_TEST_CASE("nursery: a stop that its function causes before it waits reaches it at once") {
    bool stopped = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            static_cast<void>(co_await with_nursery([&](nursery& inner) -> task<> {
                n.request_stop();
                stopped = inner.stop_requested();
                co_return;
            }));
        });
        co_return;
    }));
    CHECK(stopped);
}

SLUICE_TEST_CASE("nursery: a function that throws before it has a task fails as a child does") {
    int stopped = 0;
    const std::string what = co_await what_of(with_nursery([&](nursery& n) -> task<> {
        n.spawn([&] { return waits_for_stop(stopped); });
        throw std::runtime_error("no task");
    }));
    CHECK(what == "no task");
    CHECK(stopped == 1);
    const auto collected = co_await with_nursery(
        collecting, [](nursery&) -> task<> { throw std::runtime_error("counted"); });
    CHECK(collected.has_value());
}

SLUICE_TEST_CASE(
    "nursery: a function may stop its scope before it begins, and await without a task") {
    const auto done = co_await with_nursery([](nursery& n) {
        n.request_stop();
        return sleep_for(1h);
    });
    REQUIRE(done.has_error());
    CHECK(done.error() == sluice::cancelled_error());
}

SLUICE_TEST_CASE("nursery: functions that never wait leave the other coroutines their turn") {
    bool other = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            for (int i = 0; i < 100'000 && !other; ++i)
                static_cast<void>(co_await with_nursery([](nursery&) -> task<> { co_return; }));
            CHECK(other);
        });
        n.spawn([&]() -> task<> {
            other = true;
            co_return;
        });
        co_return;
    }));
}

SLUICE_TEST_CASE("nursery: the first error cancels the rest") {
    int stopped = 0;
    const auto began = reactor::clock::now();
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 3; ++i) n.spawn([&] { return waits_for_stop(stopped); });
        n.spawn(fails_after, 2);
        co_await waits_for_stop(stopped);  // the function itself is a child as well
    });
    REQUIRE(done.has_error());
    CHECK(done.error() == sluice::error::truncated);
    CHECK(stopped == 4);
    CHECK(reactor::clock::now() - began < 30min);
}

SLUICE_TEST_CASE("nursery: an exception cancels the rest and comes out") {
    int stopped = 0;
    const std::string what = co_await what_of(with_nursery([&](nursery& n) -> task<> {
        n.spawn([&] { return waits_for_stop(stopped); });
        n.spawn(throws_after, 1, "a child's");
        co_return;
    }));
    CHECK(what == "a child's");
    CHECK(stopped == 1);
}

SLUICE_TEST_CASE("nursery: the first exception wins, over errors too; the first error over later") {
    const std::string what = co_await what_of(with_nursery([](nursery& n) -> task<> {
        n.spawn(fails_after, 0);
        n.spawn(throws_after, 1, "first");
        n.spawn(throws_after, 2, "second");
        co_return;
    }));
    CHECK(what == "first");

    const auto done = co_await with_nursery([](nursery& n) -> task<> {
        n.spawn([]() -> task<result<int>> {
            co_await yield();
            co_return sluice::error::draining;
        });
        n.spawn(fails_after, 0);
        co_return;
    });
    REQUIRE(done.has_error());
    CHECK(done.error() == sluice::error::truncated);
}

SLUICE_TEST_CASE("nursery: collect lets the others go on, counts failures and ends with success") {
    reactor& home = co_await sluice::this_coro::reactor();
    const auto before = home.stats().task_failures;
    int finished = 0;
    std::size_t failures = 0;
    const auto done = co_await with_nursery(collecting, [&](nursery& n) -> task<> {
        n.spawn(fails_after, 0);
        n.spawn(throws_after, 1, "collected");
        for (int i = 0; i < 3; ++i)
            n.spawn([&finished]() -> task<> {
                const auto slept = co_await sleep_for(2ms);
                if (slept) ++finished;
            });
        const auto slept = co_await sleep_for(3ms);
        CHECK(slept.has_value());
        CHECK_FALSE(n.stop_requested());
        CHECK(n.first_exception() != nullptr);
        failures = n.failures();
    });
    CHECK(finished == 3);
    CHECK(failures == 2);
    CHECK(home.stats().task_failures == before + 2);
    CHECK(done.has_value());
}

SLUICE_TEST_CASE("nursery: a child that is stopped and says so with ECANCELED is a failure") {
    const auto done = co_await with_nursery([](nursery& n) -> task<> {
        n.spawn(sleeps, 1h);
        co_await yield();
        n.request_stop();
        CHECK(n.stop_requested());
    });
    REQUIRE(done.has_error());
    CHECK(done.error() == sluice::cancelled_error());
}

SLUICE_TEST_CASE("nursery: a stop of the awaiting chain cancels the children, at any depth") {
    int stopped = 0;
    reactor& home = co_await sluice::this_coro::reactor();
    const auto done = co_await with_nursery([&](nursery& outer) -> task<> {
        outer.spawn([&]() -> task<result<void>> {
            co_return co_await with_nursery([&](nursery& middle) -> task<> {
                middle.spawn([&]() -> task<result<void>> {
                    co_return co_await with_nursery([&](nursery& inner) -> task<> {
                        for (int i = 0; i < 2; ++i)
                            inner.spawn([&] { return waits_for_stop(stopped); });
                        co_await waits_for_stop(stopped);
                    });
                });
                middle.spawn([&] { return waits_for_stop(stopped); });
                co_return;
            });
        });
        while (home.stats().live_timers < 4) co_await yield();
        outer.request_stop();
    });
    CHECK(stopped == 4);
    CHECK(done.has_value());  // nobody failed
}

SLUICE_TEST_CASE("nursery: a timeout around it cancels the children and waits for them") {
    int stopped = 0;
    bool last_words = false;
    const auto done = co_await with_timeout(1ms, with_nursery([&](nursery& n) -> task<> {
                                                n.spawn([&] { return waits_for_stop(stopped); });
                                                n.spawn([&]() -> task<result<void>> {
                                                    const auto slept = co_await sleep_for(1h);
                                                    for (int i = 0; i < 5; ++i) co_await yield();
                                                    last_words = true;
                                                    co_return slept;
                                                });
                                                co_return;
                                            }));
    REQUIRE(done.has_error());
    CHECK(done.error() == sluice::error::timeout);
    CHECK(stopped == 1);
    CHECK(last_words);
}

SLUICE_TEST_CASE("nursery: entered by a chain that is cancelled already, its children start so") {
    int stopped = 0;
    const auto outer_done = co_await with_nursery([&](nursery& outer) -> task<> {
        outer.spawn([&]() -> task<> {
            const auto slept = co_await sleep_for(1h);
            CHECK_FALSE(slept.has_value());
            // In the middle of an orderly end: a scope is opened under a stop that came before.
            const auto done = co_await with_nursery([&](nursery& n) -> task<> {
                n.spawn([&] { return waits_for_stop(stopped); });
                co_await waits_for_stop(stopped);
            });
            CHECK(done.has_value());
        });
        co_await yield();
        outer.request_stop();
    });
    CHECK(outer_done.has_value());
    CHECK(stopped == 2);
}

SLUICE_TEST_CASE("nursery: a child spawned after the stop starts cancelled, and runs") {
    int stopped = 0;
    bool seen = false;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&]() -> task<> {
            const auto token = co_await sluice::this_coro::stop_token();
            seen = token.stop_requested();
            co_await waits_for_stop(stopped);
        });
        co_return;
    });
    CHECK(done.has_value());
    CHECK(seen);
    CHECK(stopped == 1);
}

SLUICE_TEST_CASE("nursery: children spawn siblings, also after the function has ended") {
    int ran = 0;
    struct local {
        static task<> branch(nursery& n, int depth, int& count) {
            co_await yield();
            ++count;
            if (depth == 0) co_return;
            n.spawn([&n, depth, &count] { return branch(n, depth - 1, count); });
            n.spawn([&n, depth, &count] { return branch(n, depth - 1, count); });
        }
    };
    const auto done =
        co_await with_nursery([&](nursery& n) -> task<> { co_await local::branch(n, 9, ran); });
    CHECK(done.has_value());
    CHECK(ran == 1023);
}

TEST_CASE("nursery: callable and arguments live in the child's frame, until it has ended") {
    census book;
    bool alive_at_end = false;
    sluice::testing::run([&]() -> task<> {
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            {
                n.spawn(
                    [&book, &alive_at_end, captured = std::make_shared<counted>(book, 1)](
                        counted argument, const counted& constant) -> task<> {
                        co_await yield();
                        const auto slept = co_await sleep_for(1ms);
                        CHECK(slept.has_value());
                        CHECK(captured->value() + argument.value() + constant.value() == 6);
                        alive_at_end = book.made > book.destroyed;
                    },
                    counted{book, 2}, counted{book, 3});
            }
            co_await yield();
        });
        CHECK(done.has_value());
        CHECK(book.made == book.destroyed);
    });
    CHECK(alive_at_end);
    CHECK(book.balanced());
}

TEST_CASE("nursery: callable and arguments of a child that throws, or is stopped, are destroyed") {
    census book;
    sluice::testing::run([&]() -> task<> {
        for (const bool stop_at_once : {false, true}) {
            const std::string what = co_await what_of(with_nursery([&](nursery& n) -> task<> {
                n.spawn(
                    [captured = std::make_shared<counted>(book)](counted) -> task<> {
                        co_await yield();
                        throw std::runtime_error("thrown");
                    },
                    counted{book});
                if (stop_at_once) n.request_stop();
                co_return;
            }));
            CHECK(what == "thrown");
            CHECK(book.made == book.destroyed);
        }
    });
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("nursery: spawn takes functions, members, references and any result type") {
    struct object {
        int calls = 0;
        task<int> member(int n) {
            calls += n;
            co_return n;
        }
    };
    object o;
    int by_reference = 0;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn(&object::member, &o, 2);
        n.spawn(&object::member, std::ref(o), 3);
        n.spawn(
            [](int& r) -> task<result<std::string>> {
                r = 4;
                co_return std::string("ignored");
            },
            std::ref(by_reference));
        n.spawn([](std::unique_ptr<int> p) -> task<std::unique_ptr<int>> { co_return p; },
                std::make_unique<int>(5));
        n.spawn([] { return sleep_for(0s); });  // an operation, without a coroutine around it
        co_return;
    });
    CHECK(done.has_value());
    CHECK(o.calls == 5);
    CHECK(by_reference == 4);
}

SLUICE_TEST_CASE("nursery: join() on one's own scope waits, and can wait again") {
    reactor& home = co_await sluice::this_coro::reactor();
    nursery scope(home, collecting);
    int ran = 0;
    for (int round = 1; round <= 3; ++round) {
        for (int i = 0; i < 10; ++i)
            scope.spawn([&ran]() -> task<> {
                co_await yield();
                ++ran;
            });
        CHECK(scope.children() == 10);
        co_await scope.join();
        CHECK(scope.children() == 0);
        CHECK(ran == 10 * round);
    }
    co_await scope.join();
    CHECK(scope.outcome().has_value());
}

SLUICE_TEST_CASE("nursery: many children, cancelled at once") {
    int stopped = 0;
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 20'000; ++i) n.spawn([&] { return waits_for_stop(stopped); });
        const auto slept = co_await sleep_for(1ms);
        CHECK(slept.has_value());
        CHECK(n.children() == 20'001);
        n.request_stop();
    });
    CHECK(done.has_value());
    CHECK(stopped == 20'000);
}

TEST_CASE("nursery: destroying it while children run ends the program with a message") {
    sluice::testing::expect_death(
        [] {
            sluice::testing::run([](reactor& home) -> task<> {
                nursery scope(home, {});
                scope.spawn([]() -> task<> { static_cast<void>(co_await sleep_for(1h)); });
                co_await yield();
            });
        },
        "sluice: fatal: .*nursery.*1 children");
}
