// SPDX-License-Identifier: Apache-2.0
#include "sluice/blocking.hpp"

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/helper_pool.hpp"
#include "sluice/timeout.hpp"
#include "support/allocation_count.hpp"
#include "support/cores.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::blocking;
using sluice::cancelled_error;
using sluice::nursery;
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
using sluice::testing::run;
using sluice::testing::run_service;

namespace {

//! Holds threads until it is opened.
class gate {
public:
    void pass() {
        std::unique_lock lock(mutex_);
        ++inside_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return open_; });
    }
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    [[nodiscard]] int inside() {
        const std::lock_guard lock(mutex_);
        return inside_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int inside_ = 0;
    bool open_ = false;
};

std::size_t threads_now() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/self/task"))
        ++count;
    return count;
}

//! A thread that was joined may be listed for a moment longer.
bool threads_are(std::size_t count) {
    for (int i = 0; i < 5000 && threads_now() != count; ++i) std::this_thread::sleep_for(1ms);
    return threads_now() == count;
}

bool is_cancelled(const auto& r) { return r.has_error() && r.error() == cancelled_error(); }

sluice::testing::run_options one_thread(std::uint32_t queue = 64) {
    sluice::testing::run_options options;
    options.reactor.blocking_threads = 1;
    options.reactor.blocking_queue = queue;
    return options;
}

}  // namespace

TEST_CASE("blocking: values, nothing, results, exceptions, on another thread") {
    std::thread([] {}).join();  // with the first thread ThreadSanitizer starts one of its own
    const std::size_t before = threads_now();
    run([]() -> task<> {
        const auto own = std::this_thread::get_id();
        auto where = co_await blocking([] { return std::this_thread::get_id(); });
        CHECK(where.value() != own);
        CHECK(std::this_thread::get_id() == own);
        bool ran = false;
        auto nothing = co_await blocking([&ran] { ran = true; });
        CHECK(nothing.has_value());
        CHECK(ran);
        auto move = blocking([p = std::make_unique<int>(3)]() mutable {
            ++*p;
            return std::move(p);
        });
        auto moved = co_await move;
        CHECK(**moved == 4);
        auto failed = co_await blocking([]() -> result<int> {
            return result<int>{boost::system::in_place_error, sluice::errno_error(EPROTO)};
        });
        CHECK(failed.error() == boost::system::errc::protocol_error);
        bool caught = false;
        try {
            static_cast<void>(
                co_await blocking([]() -> int { throw std::runtime_error("there"); }));
        } catch (const std::runtime_error&) {
            caught = true;
        }
        CHECK(caught);
    });
    CHECK(threads_are(before));
}

TEST_CASE("blocking: the reactor goes on meanwhile, and no more threads than allowed") {
    gate g;
    sluice::testing::run_options options;
    options.reactor.blocking_threads = 3;
    run(
        [&](reactor& home) -> task<> {
            auto outcome = co_await with_nursery([&](nursery& n) -> task<> {
                for (int i = 0; i < 20; ++i)
                    n.spawn([&]() -> task<> {
                        static_cast<void>(co_await blocking([&] { g.pass(); }));
                    });
                while (g.inside() < 3) static_cast<void>(co_await sleep_for(1ms));
                for (int i = 0; i < 10; ++i) static_cast<void>(co_await sleep_for(1ms));
                CHECK(g.inside() == 3);
                CHECK(home.helpers().threads() == 3);
                g.open();
            });
            CHECK(outcome.has_value());
            CHECK(g.inside() == 20);
        },
        options);
}

TEST_CASE("blocking: first come, first served, past a full queue too") {
    std::vector<int> order;
    run(
        [&]() -> task<> {
            auto outcome = co_await with_nursery([&](nursery& n) -> task<> {
                for (int i = 0; i < 50; ++i)
                    n.spawn([&order, i]() -> task<> {
                        auto done = co_await blocking([&order, i] { order.push_back(i); });
                        CHECK(done.has_value());
                    });
                co_return;
            });
            CHECK(outcome.has_value());
        },
        one_thread(2));
    REQUIRE(order.size() == 50);
    for (int i = 0; i < 50; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("blocking: cancelled before it started, in the pool's queue, on the reactor, running") {
    for (const std::uint32_t queue : {64U, 2U}) {
        gate g;
        std::atomic<int> ran{0};
        run(
            [&]() -> task<> {
                auto early = co_await with_nursery([&](nursery& n) -> task<> {
                    n.request_stop();
                    auto r = co_await blocking([&] { ++ran; });
                    CHECK(is_cancelled(r));
                });
                CHECK(early.has_value());
                int cancelled = 0;
                int held = 0;
                auto outcome = co_await with_nursery([&](nursery& n) -> task<> {
                    n.spawn([&]() -> task<> {
                        auto r = co_await blocking([&] {
                            g.pass();
                            return 7;
                        });
                        held = r.value();  // it was running, so it gave its value
                    });
                    while (g.inside() == 0) static_cast<void>(co_await sleep_for(1ms));
                    for (int i = 0; i < 10; ++i)
                        n.spawn([&]() -> task<> {
                            auto r = co_await blocking([&] { ++ran; });
                            if (is_cancelled(r)) ++cancelled;
                        });
                    for (int i = 0; i < 3; ++i) co_await yield();
                    n.request_stop();
                    for (int i = 0; i < 3; ++i) co_await yield();
                    CHECK(cancelled == 10);
                    CHECK(held == 0);
                    g.open();
                });
                CHECK(outcome.has_value());
                CHECK(held == 7);
                auto after = co_await blocking([&] { ++ran; });
                CHECK(after.has_value());
            },
            one_thread(queue));
        CHECK(ran.load() == 1);
    }
}

TEST_CASE("blocking: a stop that races with the beginning and the end, many times") {
    run([]() -> task<> {
        int values = 0;
        int cancels = 0;
        for (int round = 0; round < 2000; ++round) {
            static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
                for (int i = 0; i < 3; ++i)
                    n.spawn([&, i]() -> task<> {
                        auto r = co_await blocking([i] { return i; });
                        if (r) {
                            CHECK(*r == i);
                            ++values;
                        } else {
                            CHECK(is_cancelled(r));
                            ++cancels;
                        }
                    });
                if (round % 20 == 19) co_return;  // on a busy machine the stop always wins
                for (int i = 0; i < round % 5; ++i) co_await yield();
                n.request_stop();
            }));
        }
        CHECK(values + cancels == 6000);
        CHECK(values > 0);
        CHECK(cancels > 0);
    });
}

TEST_CASE("blocking: the reactors of a service share the threads, which end with it") {
    const std::size_t before = threads_now();
    auto options = cores(3);
    options.reactor.blocking_threads = 2;
    for (int round = 0; round < 3; ++round) {
        service s(options);
        std::mutex mutex;
        std::set<std::thread::id> seen;
        auto report = s.run([&](reactor&) -> task<> {
            static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
                for (int i = 0; i < 50; ++i)
                    n.spawn([&]() -> task<> {
                        auto r = co_await blocking([&] {
                            const std::lock_guard lock(mutex);
                            seen.insert(std::this_thread::get_id());
                        });
                        CHECK(r.has_value());
                    });
                co_return;
            }));
        });
        REQUIRE(report.has_value());
        check_mesh(*report);
        CHECK(seen.size() <= 2);
        CHECK(threads_are(before));
    }
}

TEST_CASE("blocking: at the hard deadline the end of a running call is waited for") {
    auto options = cores(2);
    options.drain_timeout = 1ms;
    options.cancel_timeout = 1ms;
    options.reactor.blocking_threads = 1;
    service s(options);
    gate g;
    std::atomic<bool> ended{false};
    REQUIRE(s.start([&](reactor&) -> task<> {
                 static_cast<void>(co_await blocking([&] {
                     g.pass();
                     ended = true;
                 }));
             }).has_value());
    while (g.inside() == 0) std::this_thread::sleep_for(1ms);
    s.request_stop();
    std::thread opener([&] {
        std::this_thread::sleep_for(30ms);
        g.open();
    });
    const auto report = s.wait();
    opener.join();
    CHECK(ended.load());
    for (const auto& r : report.reactors) {
        CHECK(r.live_frames == 0);
        CHECK(r.live_operations == 0);
    }
}

TEST_CASE("blocking: costs no allocation in the steady state") {
    if (!sluice::testing::allocations_are_counted) return;
    run(
        []() -> task<> {
            for (int i = 0; i < 10; ++i) static_cast<void>(co_await blocking([] {}));
            const auto before = sluice::testing::allocations();
            for (int i = 0; i < 200; ++i) static_cast<void>(co_await blocking([] {}));
            CHECK(sluice::testing::allocations() == before);
        },
        one_thread());
}

TEST_CASE("post_from_any_thread: bounded, refused when full, counted; a stop is never refused") {
    auto options = cores(1);
    options.reactor.max_posts = 8;
    service s(options);
    gate g;
    std::atomic<int> ran{0};
    CHECK_THROWS_AS(static_cast<void>(s.post_from_any_thread(0, [](reactor&) {})),
                    std::out_of_range);
    REQUIRE(s.start([](reactor&) -> task<> { co_return; }).has_value());
    REQUIRE(s.post_from_any_thread(0, [&](reactor&) { g.pass(); }).has_value());
    while (g.inside() == 0) std::this_thread::sleep_for(1ms);
    int taken = 0;
    int refused = 0;
    for (int i = 0; i < 20; ++i) {
        const auto posted = s.post_from_any_thread(0, [&](reactor&) { ++ran; });
        if (posted) {
            ++taken;
        } else {
            CHECK(posted.error() == boost::system::errc::no_buffer_space);
            ++refused;
        }
    }
    CHECK(taken == 8);
    CHECK(refused == 12);
    auto future = s.submit(0, []() -> task<int> { co_return 1; });
    CHECK_THROWS_AS(static_cast<void>(future.get()), boost::system::system_error);
    s.request_stop();  // in spite of the full queue
    g.open();
    const auto report = s.wait();
    CHECK(report.clean());
    CHECK(ran.load() == 8);
    CHECK(report.reactors[0].stats.posts_refused == 13);
}

TEST_CASE("submit: from many threads while the service stops, each future ends") {
    for (int round = 0; round < 20; ++round) {
        service s(cores(2));
        REQUIRE(s.start([](reactor&) -> task<> { co_return; }).has_value());
        std::atomic<int> ended{0};
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < 3; ++t)
            threads.emplace_back([&, t] {
                for (int i = 0; i < 100; ++i) {
                    auto future = s.submit(t % 2, [t]() -> task<int> {
                        auto r = co_await sluice::on(1 - t % 2, [] { return 5; });
                        co_return r ? *r : 0;
                    });
                    try {
                        const int value = future.get();
                        CHECK((value == 5 || value == 0));
                    } catch (const std::future_error&) {}
                    ++ended;
                }
            });
        std::this_thread::sleep_for(std::chrono::microseconds(300 * round));
        s.request_stop();
        for (auto& t : threads) t.join();
        check_mesh(s.wait());
        CHECK(ended.load() == 300);
    }
}
