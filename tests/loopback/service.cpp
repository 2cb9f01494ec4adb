// SPDX-License-Identifier: Apache-2.0
#include "sluice/service.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "loopback/watchdog.hpp"
#include "loopback/wire.hpp"
#include "sluice/cpu_set.hpp"
#include "sluice/timeout.hpp"
#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::service;
using sluice::service_options;
using sluice::sleep_for;
using sluice::task;
using sluice::testing::watchdog;

namespace {

service_options reactors(unsigned count) {
    service_options options;
    options.cpus.assign(count, 0);
    options.pin = false;
    return options;
}

std::size_t threads_now() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/self/task"))
        ++count;
    return count;
}

task<> nothing(reactor&) { co_return; }

}  // namespace

TEST_SUITE_BEGIN("loopback.service");

TEST_CASE("service: one co_main on each reactor, each on a thread of its own") {
    const watchdog limit;
    std::mutex mutex;
    std::vector<std::pair<unsigned, std::thread::id>> seen;
    service s(reactors(3));
    CHECK(s.reactors() == 3);
    const auto started = s.start([&](reactor& home) -> task<> {
        const std::lock_guard lock(mutex);
        seen.emplace_back(home.index(), std::this_thread::get_id());
        co_return;
    });
    REQUIRE(started.has_value());
    CHECK(s.start(nothing).has_error());  // it runs already
    s.request_stop();
    const auto report = s.wait();
    CHECK(report.clean());
    CHECK(report.reactors.size() == 3);
    REQUIRE(seen.size() == 3);
    std::sort(seen.begin(), seen.end());
    for (unsigned i = 0; i < 3; ++i) {
        CHECK(seen[i].first == i);
        CHECK(report.reactors[i].index == i);
        CHECK(seen[i].second != std::this_thread::get_id());
        CHECK(seen[i].second != seen[(i + 1) % 3].second);
    }
    CHECK(report.to_string().find("reactor 2") != std::string::npos);
}

TEST_CASE("service: run ends when every co_main has, and again") {
    const watchdog limit;
    service s(reactors(2));
    for (int round = 0; round < 3; ++round) {
        std::atomic<int> ended{0};
        const auto report = s.run([&](reactor& home) -> task<> {
            static_cast<void>(co_await sleep_for(1ms * (home.index() + 1)));
            home.spawn([&]() -> task<> {
                static_cast<void>(co_await sleep_for(5ms));
                ++ended;
            });
            ++ended;
        });
        REQUIRE(report.has_value());
        CHECK(report->clean());
        CHECK(ended.load() == 4);
    }
}

TEST_CASE("service: started and stopped at once, many times, leaves no thread") {
    const watchdog limit;
    const std::size_t before = threads_now();
    for (int round = 0; round < 30; ++round) {
        service s(reactors(2));
        const auto started =
            s.start([](reactor&) -> task<> { static_cast<void>(co_await sleep_for(1h)); });
        REQUIRE(started.has_value());
        if (round % 3 == 0) continue;  // the destructor stops at once
        s.request_stop();
        if (round % 3 == 1) s.request_stop();
        if (round % 3 == 2) {
            s.request_stop();
            const auto report = s.wait();
            CHECK(report.clean());
        }
    }
    // The kernel may show a thread for a moment after it has been joined.
    while (threads_now() > before) std::this_thread::yield();
}

TEST_CASE("service: two at once") {
    const watchdog limit;
    service one(reactors(1));
    service two(reactors(2));
    std::atomic<int> ran{0};
    const auto main = [&](reactor&) -> task<> {
        ++ran;
        co_return;
    };
    REQUIRE(one.start(main).has_value());
    REQUIRE(two.start(main).has_value());
    auto a = one.submit(0, []() -> task<int> { co_return 1; });
    auto b = two.submit(1, []() -> task<int> { co_return 2; });
    CHECK(a.get() == 1);
    CHECK(b.get() == 2);
    one.request_stop();
    CHECK(one.wait().clean());
    auto c = two.submit(0, []() -> task<int> { co_return 3; });
    CHECK(c.get() == 3);
    two.request_stop();
    CHECK(two.wait().clean());
    CHECK(ran.load() == 3);
}

TEST_CASE("service: submit gives values, nothing, exceptions, and what can only be moved") {
    const watchdog limit;
    service s(reactors(2));
    REQUIRE(s.start(nothing).has_value());
    auto value = s.submit(1, []() -> task<std::string> {
        reactor& home = co_await sluice::this_coro::reactor();
        co_return "reactor " + std::to_string(home.index());
    });
    CHECK(value.get() == "reactor 1");
    bool ran = false;
    auto none = s.submit(0, [&]() -> task<> {
        ran = true;
        co_return;
    });
    none.get();
    CHECK(ran);
    auto thrown = s.submit(0, []() -> task<int> {
        static_cast<void>(co_await sleep_for(1ms));
        throw std::runtime_error("on the reactor");
    });
    CHECK_THROWS_WITH_AS(thrown.get(), "on the reactor", std::runtime_error);
    auto moved =
        s.submit(0, []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); });
    CHECK(*moved.get() == 7);
    auto error = s.submit(0, []() -> task<sluice::result<int>> {
        co_return sluice::result<int>(sluice::errno_error(EPROTO));
    });
    CHECK(error.get().error() == boost::system::errc::protocol_error);
    CHECK_THROWS_AS(static_cast<void>(s.submit(2, []() -> task<> { co_return; })),
                    std::out_of_range);
    s.request_stop();
    const auto report = s.wait();
    CHECK(report.clean());
}

TEST_CASE("service: submit from many threads, also while it stops: each future ends") {
    const watchdog limit;
    for (int round = 0; round < 5; ++round) {
        service s(reactors(2));
        REQUIRE(s.start(nothing).has_value());
        std::atomic<int> values{0};
        std::atomic<int> broken{0};
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < 4; ++t)
            threads.emplace_back([&, t] {
                for (int i = 0; i < 300; ++i) {
                    auto future = s.submit(t % 2, [i]() -> task<int> {
                        if (i % 5 == 0) co_await sluice::yield();
                        co_return i;
                    });
                    try {
                        if (future.get() == i) ++values;
                    } catch (const std::future_error&) {
                        ++broken;
                    }
                }
            });
        std::this_thread::sleep_for(1ms * round);
        s.request_stop();
        for (auto& t : threads) t.join();
        const auto report = s.wait();
        INFO(report.to_string());
        CHECK(report.clean());
        CHECK(values.load() + broken.load() == 4 * 300);
    }
}

TEST_CASE("service: an exception of co_main is reported") {
    const watchdog limit;
    service s(reactors(2));
    const auto report = s.run([](reactor& home) -> task<> {
        static_cast<void>(co_await sleep_for(1ms));
        if (home.index() == 1) throw std::runtime_error("co_main failed");
    });
    REQUIRE(report.has_value());
    CHECK_FALSE(report->clean());
    REQUIRE(report->failure != nullptr);
    CHECK_THROWS_WITH_AS(std::rethrow_exception(report->failure), "co_main failed",
                         std::runtime_error);
    CHECK(report->reactors[1].task_failures == 1);
    CHECK(report->reactors[0].task_failures == 0);
}

TEST_CASE("service: threads are pinned when asked, and not otherwise") {
    const watchdog limit;
    const auto cpus = sluice::usable_cpus();
    for (const bool pin : {true, false}) {
        service_options options;
        options.cpus = {cpus.back()};
        options.pin = pin;
        service s(options);
        REQUIRE(s.start(nothing).has_value());
        auto mask = s.submit(0, []() -> task<std::vector<unsigned>> {
            cpu_set_t set;
            CPU_ZERO(&set);
            ::sched_getaffinity(0, sizeof set, &set);
            std::vector<unsigned> allowed;
            for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
                if (CPU_ISSET(cpu, &set)) allowed.push_back(cpu);
            co_return allowed;
        });
        CHECK(mask.get() == (pin ? std::vector<unsigned>{cpus.back()} : cpus));
        s.request_stop();
        CHECK(s.wait().clean());
    }
    // A CPU that there isn't: a warning, and the service runs.
    service_options options;
    options.cpus = {1000};
    service s(options);
    CHECK(s.run(nothing).has_value());
}

TEST_CASE("service: other threads may ask it for things while it ends, and when it has ended") {
    const watchdog limit;
    service_options options = reactors(2);
    options.dump_timeout = 10ms;
    service s(options);
    for (int round = 0; round < 20; ++round) {
        REQUIRE(s.start(nothing).has_value());
        std::atomic<bool> over{false};
        std::atomic<int> asked{0};
        std::thread other([&] {
            while (!over) {
                s.request_stop();
                static_cast<void>(s.post(0, [](reactor&) {}));
                static_cast<void>(s.post_from_any_thread(1, [](reactor&) {}));
                static_cast<void>(s.dump_tasks());
                ++asked;
            }
        });
        CHECK(s.wait().clean());
        for (const int until = asked + 2; asked < until;) std::this_thread::yield();
        over = true;
        other.join();
    }
    s.request_stop();
    CHECK_FALSE(s.post(1, [](reactor&) {}));
    CHECK(s.post_from_any_thread(0, [](reactor&) {}).error() == sluice::error::draining);
    for (const auto& dump : s.dump_tasks()) CHECK(dump.tasks.empty());
    auto never = s.submit(0, []() -> task<> { co_return; });
    CHECK_THROWS_AS(never.get(), std::future_error);
    CHECK(s.run(nothing).has_value());
}

TEST_CASE("service: touches no signal unless asked") {
    const watchdog limit;
    const auto state = [] {
        struct {
            sigset_t blocked;
            std::array<struct sigaction, 32> actions;
        } now{};
        ::pthread_sigmask(SIG_SETMASK, nullptr, &now.blocked);
        for (int i = 1; i < 32; ++i)
            ::sigaction(i, nullptr, &now.actions[static_cast<std::size_t>(i)]);
        return now;
    };
    const auto same = [](const auto& a, const auto& b) {
        for (int i = 1; i < 32; ++i) {
            const auto n = static_cast<std::size_t>(i);
            if (sigismember(&a.blocked, i) != sigismember(&b.blocked, i)) return false;
            if (a.actions[n].sa_handler != b.actions[n].sa_handler) return false;
            if (a.actions[n].sa_flags != b.actions[n].sa_flags) return false;
        }
        return true;
    };
    const auto before = state();
    service s(reactors(1));
    REQUIRE(s.start(nothing).has_value());
    CHECK(same(before, state()));
    sigset_t inside{};
    auto mask = s.submit(0, [&inside]() -> task<> {
        ::pthread_sigmask(SIG_SETMASK, nullptr, &inside);
        co_return;
    });
    mask.get();
    for (int i = 1; i < 32; ++i) CHECK(sigismember(&inside, i) == sigismember(&before.blocked, i));
    s.request_stop();
    CHECK(s.wait().clean());
    CHECK(same(before, state()));
    CHECK(s.run(nothing).has_value());
    CHECK(same(before, state()));
}

TEST_CASE("service: asked to, it stops at SIGTERM, and puts the mask back as it was") {
    const auto outcome = sluice::testing::in_child([] {
        ::alarm(40);
        sigset_t blocked;
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGTERM);
        ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);  // before, by the program itself
        service_options options = reactors(2);
        options.handle_signals = true;
        service s(options);
        const auto report = s.run([](reactor& home) -> task<> {
            if (home.index() == 0) ::kill(::getpid(), SIGTERM);
            while (!home.draining()) static_cast<void>(co_await sleep_for(1ms));
        });
        if (!report || !report->clean()) return 1;
        sigset_t after;
        ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
        if (sigismember(&after, SIGTERM) != 1) return 2;
        if (sigismember(&after, SIGINT) != 0) return 3;
        return 0;
    });
    INFO("standard error of the child: ", outcome.errors);
    CHECK(outcome.signal == 0);
    CHECK(outcome.exit_code == 0);
}

TEST_CASE("service: asked to, a second signal cancels at once") {
    const auto outcome = sluice::testing::in_child([] {
        ::alarm(40);
        service_options options = reactors(1);
        options.handle_signals = true;
        options.drain_timeout = 1h;
        service s(options);
        const auto report = s.run([](reactor& home) -> task<> {
            ::kill(::getpid(), SIGINT);
            while (!home.draining()) static_cast<void>(co_await sleep_for(1ms));
            ::kill(::getpid(), SIGTERM);
            static_cast<void>(co_await sleep_for(1h));
        });
        return report && report->clean() && report->reactors[0].tasks_at_cancel == 1 ? 0 : 1;
    });
    INFO("standard error of the child: ", outcome.errors);
    CHECK(outcome.exit_code == 0);
}

TEST_SUITE_END();
