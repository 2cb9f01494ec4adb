// SPDX-License-Identifier: Apache-2.0
// Stopping under load: drain, deadline, and what ignores both.

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "loopback/echo_service.hpp"
#include "loopback/pattern.hpp"
#include "loopback/watchdog.hpp"
#include "loopback/wire.hpp"
#include "sluice/service.hpp"
#include "sluice/timeout.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using sluice::listener_group;
using sluice::reactor;
using sluice::service;
using sluice::service_options;
using sluice::sleep_for;
using sluice::task;
using sluice::tcp_stream;
using sluice::testing::echo_options;
using sluice::testing::echo_service;
using sluice::testing::loopback;
using sluice::testing::plain_socket;
using sluice::testing::watchdog;

namespace {

//! Clients that send and receive until their connection ends.
class load {
public:
    load(const sluice::endpoint& at, int count) {
        for (int i = 0; i < count; ++i)
            threads_.emplace_back([this, at] {
                const auto message = sluice::testing::pattern(1).bytes(0, 3000);
                std::vector<std::byte> answer(message.size());
                while (!over_) {
                    try {
                        plain_socket client = plain_socket::connect(at);
                        while (!over_ && client.send(message) && client.recv_exact(answer)) {
                            if (answer != message) ++wrong_;
                            ++messages_;
                        }
                    } catch (const std::system_error&) {
                        std::this_thread::sleep_for(1ms);  // refused: it has stopped
                    }
                }
            });
    }
    ~load() { finish(); }

    void finish() {
        over_ = true;
        for (auto& t : threads_) t.join();
        threads_.clear();
    }
    [[nodiscard]] int messages() const { return messages_.load(); }
    [[nodiscard]] int wrong() const { return wrong_.load(); }

private:
    std::atomic<bool> over_{false};
    std::atomic<int> messages_{0};
    std::atomic<int> wrong_{0};
    std::vector<std::thread> threads_;
};

}  // namespace

TEST_SUITE_BEGIN("loopback.stop");

TEST_CASE("stop: under load, handlers that end with the drain end in time") {
    const watchdog limit;
    for (int round = 0; round < 3; ++round) {
        echo_options options;
        options.ends_when_draining = true;
        echo_service echo(options);
        load clients(echo.local(), 8);
        std::this_thread::sleep_for(50ms);
        const auto report = echo.stop();
        clients.finish();
        INFO(report.to_string());
        CHECK(report.clean());
        for (const auto& r : report.reactors) CHECK(r.tasks_at_cancel == 0);
        CHECK(clients.messages() > 0);
        CHECK(clients.wrong() == 0);
    }
}

TEST_CASE("stop: under load, handlers that go on are cancelled at the deadline") {
    const watchdog limit;
    for (int round = 0; round < 3; ++round) {
        echo_options options;
        options.service.drain_timeout = 30ms;
        echo_service echo(options);
        load clients(echo.local(), 8);
        std::this_thread::sleep_for(30ms);
        const auto began = std::chrono::steady_clock::now();
        const auto report = echo.stop();
        const auto took = std::chrono::steady_clock::now() - began;
        clients.finish();
        INFO(report.to_string());
        CHECK(report.clean());
        CHECK(took >= 30ms);
        CHECK(took < 5s);
        std::size_t cancelled = 0;
        for (const auto& r : report.reactors) cancelled += r.tasks_at_cancel;
        CHECK(cancelled > 0);
        CHECK(clients.wrong() == 0);
    }
}

TEST_CASE("stop: a second request cancels at once") {
    const watchdog limit;
    echo_options options;
    options.service.drain_timeout = 1h;
    echo_service echo(options);
    load clients(echo.local(), 4);
    std::this_thread::sleep_for(20ms);
    echo.runner().request_stop();
    std::this_thread::sleep_for(20ms);
    const auto report = echo.stop();
    clients.finish();
    CHECK(report.clean());
}

TEST_CASE("stop: a handler that ignores cancellation is destroyed at the deadline and reported") {
    const watchdog limit;
    enum class stubborn { receiving, yielding, sleeping, sending, mixed };
    for (const stubborn how : {stubborn::receiving, stubborn::yielding, stubborn::sleeping,
                               stubborn::sending, stubborn::mixed}) {
        CAPTURE(static_cast<int>(how));
        std::atomic<int> destroyed{0};
        struct witness {
            explicit witness(std::atomic<int>& c) : count(c) {}
            ~witness() { ++count; }
            std::atomic<int>& count;
        };
        const listener_group group = listener_group::open(loopback(), 1).value();
        service_options options;
        options.cpus = {0};
        options.pin = false;
        options.drain_timeout = 10ms;
        options.cancel_timeout = 20ms;
        service s(options);
        const auto started = s.start([&](reactor& home) -> task<> {
            auto listener = sluice::tcp_listener::open(home, group).value();
            auto handler = [&, how](tcp_stream stream) -> task<> {
                const witness here(destroyed);
                const std::vector<std::byte> some(1000);
                for (;;) {
                    switch (how) {
                        case stubborn::receiving: {
                            auto chunk = co_await stream.recv();
                            static_cast<void>(chunk);
                            break;
                        }
                        case stubborn::yielding: co_await sluice::yield(); break;
                        case stubborn::sleeping: static_cast<void>(co_await sleep_for(1h)); break;
                        case stubborn::sending: {
                            auto sent = co_await stream.send_all(some);
                            static_cast<void>(sent);
                            break;
                        }
                        case stubborn::mixed: {
                            auto chunk = co_await sluice::with_timeout(1ms, stream.recv());
                            if (!chunk) continue;
                            auto sent = co_await stream.send_all(std::move(*chunk));
                            static_cast<void>(sent);
                            break;
                        }
                    }
                }
            };
            static_cast<void>(co_await sluice::serve(listener, handler));
        });
        REQUIRE(started.has_value());
        std::vector<plain_socket> clients;
        for (int i = 0; i < 3; ++i) {
            clients.push_back(plain_socket::connect(group.local()));
            CHECK(clients.back().send("hello"));
        }
        std::this_thread::sleep_for(20ms);
        s.request_stop();
        const auto report = s.wait();
        INFO(report.to_string());
        CHECK_FALSE(report.clean());
        CHECK(destroyed.load() == 3);
        CHECK(report.reactors[0].tasks_destroyed >= 1);
        CHECK(report.reactors[0].live_operations == 0);
        CHECK(report.reactors[0].live_frames == 0);
    }
}

TEST_CASE("stop: connections in the backlog and requests half-way") {
    const watchdog limit;
    for (int round = 0; round < 10; ++round) {
        echo_options options;
        options.service.drain_timeout = 5ms;
        echo_service echo(options);
        std::vector<plain_socket> clients;
        for (int i = 0; i < 50; ++i) {
            clients.push_back(plain_socket::connect(echo.local()));
            if (i % 2 == 0) clients.back().send("x");
            if (i % 5 == 0) clients.back().reset();
        }
        if (round % 2 == 0) std::this_thread::sleep_for(2ms);
        const auto report = echo.stop();
        INFO(report.to_string());
        CHECK(report.clean());
    }
}

TEST_CASE("stop: a handler that throws is counted, the others go on") {
    const watchdog limit;
    echo_options options;
    options.throws_at = "throw!";
    options.ends_when_draining = true;
    echo_service echo(options);
    for (int i = 0; i < 10; ++i) {
        plain_socket good = plain_socket::connect(echo.local());
        plain_socket bad = plain_socket::connect(echo.local());
        CHECK(bad.send("throw!"));
        CHECK(bad.recv_all().empty());
        CHECK(good.send("fine"));
        CHECK(good.recv_text(4) == "fine");
    }
    const auto report = echo.stop();
    std::uint64_t failures = 0;
    for (const auto& r : report.reactors) {
        failures += r.task_failures;
        CHECK(r.live_frames == 0);
        CHECK(r.tasks_destroyed == 0);
    }
    CHECK(failures == 10);
}

TEST_SUITE_END();
