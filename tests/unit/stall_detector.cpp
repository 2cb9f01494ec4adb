// SPDX-License-Identifier: Apache-2.0
#include "runtime/stall_detector.hpp"

#include <doctest/doctest.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <mutex>
#include <source_location>
#include <string>
#include <vector>

#include "sluice/log.hpp"
#include "sluice/this_coro.hpp"
#include "sluice/timeout.hpp"
#include "support/run.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using testing::run;

//! Keeps warnings while it lives.
class warnings {
public:
    warnings() : sink_(std::make_shared<sink>()), level_(logger()->level()) {
        logger()->set_level(spdlog::level::warn);
        before_.swap(logger()->sinks());
        logger()->sinks().push_back(sink_);
    }
    ~warnings() {
        before_.swap(logger()->sinks());
        logger()->set_level(level_);
    }

    [[nodiscard]] std::size_t count() const { return sink_->count.load(); }
    [[nodiscard]] std::string last() const {
        const std::lock_guard lock(sink_->mutex);
        return sink_->last;
    }

private:
    struct sink final : spdlog::sinks::sink {
        void log(const spdlog::details::log_msg& m) override {
            if (m.level != spdlog::level::warn) return;
            const std::lock_guard lock(mutex);
            last.assign(m.payload.data(), m.payload.size());
            ++count;
        }
        void flush() override {}
        void set_pattern(const std::string&) override {}
        void set_formatter(std::unique_ptr<spdlog::formatter>) override {}
        mutable std::mutex mutex;
        std::string last;
        std::atomic<std::size_t> count{0};
    };
    std::shared_ptr<sink> sink_;
    std::vector<spdlog::sink_ptr> before_;
    spdlog::level::level_enum level_;
};

// Holds the thread until `over()`, for twenty seconds at most.
template <class F>
bool spin(F over) {
    const auto give_up = std::chrono::steady_clock::now() + 20s;
    while (!over())
        if (std::chrono::steady_clock::now() > give_up) return false;
    return true;
}

void spin_for(std::chrono::nanoseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    spin([&] { return std::chrono::steady_clock::now() >= end; });
}

testing::run_options limited(std::chrono::milliseconds limit, std::chrono::milliseconds interval) {
    testing::run_options o;
    o.reactor.stall_limit = limit;
    o.reactor.stall_log_interval = interval;
    return o;
}

task<> culprit(const warnings& seen, unsigned* line) {
    *line = std::source_location::current().line() + 1;
    co_await yield();
    const bool logged = spin([&] { return seen.count() != 0; });
    CHECK(logged);
}

TEST_CASE("stall: a coroutine that holds the reactor is named while it does, with its stack") {
    const warnings seen;
    unsigned line = 0;
    const auto stats = run([&]() { return culprit(seen, &line); }, limited(20ms, 0ms));
    const std::string text = seen.last();
    INFO(text);
    CHECK(stats.stalls >= 1);
    CHECK(text.find("held by: ") != std::string::npos);
    CHECK(text.find("culprit, after the co_await at ") != std::string::npos);
    CHECK(text.find("stall_detector.cpp:" + std::to_string(line)) != std::string::npos);
    CHECK(text.find("#0 ") != std::string::npos);
    CHECK(text.find("#5 ") != std::string::npos);
}

TEST_CASE("stall: a posted function is told from a coroutine") {
    const warnings seen;
    const auto stats = run(
        [&](reactor& home) -> task<> {
            bool done = false;
            home.post([&] {
                CHECK(spin([&] { return seen.count() != 0; }));
                done = true;
            });
            while (!done) static_cast<void>(co_await sleep_for(1ms));
        },
        limited(20ms, 0ms));
    CHECK(stats.stalls >= 1);
    CHECK(seen.last().find("no coroutine runs") != std::string::npos);
}

TEST_CASE("stall: logs are rare, what was not logged is counted") {
    const warnings seen;
    const auto stats = run(
        [&](reactor& home) -> task<> {
            for (int i = 0; i < 2; ++i) {
                spin_for(30ms);
                static_cast<void>(co_await sleep_for(1us));  // to another turn
            }
            CHECK(home.stats().stalls >= 2);
            CHECK(seen.count() == 1);
        },
        limited(10ms, 1h));
    CHECK(stats.stalls >= 2);
    CHECK(seen.count() == 1);
}

TEST_CASE("stall: the next log says how many were left out") {
    const warnings seen;
    run(
        [&](reactor&) -> task<> {
            spin_for(30ms);
            co_await yield();
            spin_for(30ms);  // within the interval
            co_await yield();
            static_cast<void>(co_await sleep_for(1600ms));
            const std::size_t before = seen.count();
            CHECK(spin([&] { return seen.count() > before; }));
        },
        limited(10ms, 1500ms));
    INFO(seen.last());
    CHECK(seen.last().find(" more were not logged") != std::string::npos);
}

TEST_CASE("stall: sleeping and short turns are none; off, nothing is counted") {
    const warnings seen;
    const auto calm = run([&]() -> task<> { static_cast<void>(co_await sleep_for(1200ms)); },
                          limited(1000ms, 0ms));
    CHECK(calm.stalls == 0);
    CHECK(seen.count() == 0);
    const auto off = run([&]() -> task<> {
        spin_for(30ms);
        co_return;
    });
    CHECK(off.stalls == 0);
    CHECK(seen.count() == 0);
}

std::atomic<int> signals_seen{0};

TEST_CASE("stall: a handler of the program's own for SIGURG is called, and put back") {
    struct sigaction mine {};
    struct sigaction before {};
    mine.sa_handler = [](int) { ++signals_seen; };
    REQUIRE(::sigaction(SIGURG, &mine, &before) == 0);
    const warnings seen;
    run(
        [&]() -> task<> {
            CHECK(spin([&] { return seen.count() != 0; }));
            co_return;
        },
        limited(20ms, 0ms));
    CHECK(signals_seen > 0);
    struct sigaction after {};
    REQUIRE(::sigaction(SIGURG, &before, &after) == 0);
    CHECK((after.sa_handler == mine.sa_handler));
}

}  // namespace
}  // namespace sluice
