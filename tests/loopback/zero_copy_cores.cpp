// SPDX-License-Identifier: Apache-2.0
// Zero-copy sends and several reactors: connections that move, memory of another reactor, the stop
// of a service.

#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "loopback/zero_copy.hpp"
#include "sluice/on.hpp"
#include "sluice/service.hpp"
#include "support/cores.hpp"

using namespace std::chrono_literals;
using sluice::net_stats;
using sluice::net_stats_of;
using sluice::on;
using sluice::reactor;
using sluice::result;
using sluice::rx_buffer;
using sluice::service;
using sluice::service_options;
using sluice::task;
using sluice::tcp_stream;
using sluice::testing::buffer_of;
using sluice::testing::bytes_of;
using sluice::testing::cores;
using sluice::testing::holding_wire;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::peer_thread;
using sluice::testing::plain_socket;
using sluice::testing::run_service;
using sluice::testing::take_all;
using sluice::testing::until;
using sluice::testing::watchdog;
using sluice::testing::wire;

namespace {

constexpr std::size_t large = 256 * 1024;

service_options two() {
    service_options options = cores(2);
    options.reactor.zero_copy_send_from = 1;
    options.reactor.zero_copy_send_despite_copies = true;
    return options;
}

net_stats stats() { return net_stats_of(*reactor::current()); }

//! On another reactor: sends something more, and closes.
task<result<std::size_t>> finish(tcp_stream stream) {
    auto sent = co_await stream.send_all(bytes_of("the end"));
    co_await stream.close();
    co_return sent;
}

task<> held_and_moved(wire& w) {
    auto made = co_await holding_wire();
    w = std::move(made);
    auto sent = co_await w.stream.send_all(buffer_of(1, 0, large));
    CHECK(sent.has_value());
    CHECK(stats().held_sends == 1);
    auto moved = co_await w.stream.move_to(1);
    CHECK(moved.has_value());
    CHECK(stats().moved_out == 1);
    CHECK(stats().open == 0);
    CHECK(stats().held_sends == 1);  // the memory is here, and stays
    CHECK(stats().lingering == 1);
}

task<> released() {
    CHECK(co_await until([] { return stats().held_sends == 0; }));
    CHECK(stats().lingering == 0);
    CHECK(stats().held_bytes == 0);
}

}  // namespace

TEST_SUITE_BEGIN("loopback.zero_copy");

SLUICE_ZERO_COPY_TEST("zero copy and move_to: what is held stays, and the stream goes on there") {
    const watchdog limit;
    service s(two());
    run_service(s, []() -> task<> {
        wire w;
        co_await held_and_moved(w);
        auto sent = co_await on(1, finish, std::move(w.stream));
        CHECK(sent.has_value());
        CHECK(stats().held_sends == 1);
        peer_thread reader([&] {
            CHECK(take_all(w.peer, 1, large));
            CHECK(w.peer.recv_all() == "the end");
            CHECK(errno == 0);
        });
        reader.join();  // this reactor is blocked, and has a descriptor: it is not waited for
        co_await released();
        CHECK(stats().held_resets == 0);
    });
}

SLUICE_ZERO_COPY_TEST("zero copy and move_to: an abort there resets, though the memory is here") {
    const watchdog limit;
    service s(two());
    run_service(s, []() -> task<> {
        wire w;
        co_await held_and_moved(w);
        co_await on(
            1,
            [](tcp_stream there) -> task<> {
                there.abort();
                co_return;
            },
            std::move(w.stream));
        co_await released();
        CHECK_FALSE(take_all(w.peer, 1, large));
        CHECK(errno == ECONNRESET);
    });
}

SLUICE_ZERO_COPY_TEST("zero copy and move_to: back again, and away") {
    const watchdog limit;
    service s(two());
    run_service(s, []() -> task<> {
        wire w;
        co_await held_and_moved(w);
        auto returned = co_await on(
            1,
            [](tcp_stream there) -> task<tcp_stream> {
                auto sent = co_await there.send_all(buffer_of(1, large, 1000));
                CHECK(sent.has_value());
                auto moved = co_await there.move_to(0);
                CHECK(moved.has_value());
                co_return there;
            },
            std::move(w.stream));
        REQUIRE(returned.has_value());
        tcp_stream back = std::move(*returned);
        auto sent = co_await back.send_all(bytes_of("the end"));
        CHECK(sent.has_value());
        co_await back.close();
        peer_thread reader([&] {
            CHECK(take_all(w.peer, 1, large + 1000));
            CHECK(w.peer.recv_all() == "the end");
            CHECK(errno == 0);
        });
        co_await reader.finished();
        co_await released();
        CHECK(co_await until([] { return stats().open == 0; }));
    });
}

SLUICE_ZERO_COPY_TEST("zero copy and move_to: without a second descriptor the stream stays") {
    const watchdog limit;
    service s(two());
    run_service(s, []() -> task<> {
        wire w = co_await holding_wire();
        auto sent = co_await w.stream.send_all(buffer_of(1, 0, large));
        CHECK(sent.has_value());
        rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
        const int free = ::dup(0);
        ::close(free);
        const rlimit full{static_cast<rlim_t>(free), before.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &full) == 0);
        auto moved = co_await w.stream.move_to(1);
        CHECK(::setrlimit(RLIMIT_NOFILE, &before) == 0);
        REQUIRE(moved.has_error());
        CHECK(moved.error() == boost::system::errc::too_many_files_open);
        CHECK(w.peer.send("still here"));
        auto chunk = co_await w.stream.recv();
        CHECK(chunk.value().text() == "still here");
        w.stream.abort();
        co_await released();
    });
}

SLUICE_ZERO_COPY_TEST("zero copy and move_to: at the stop, what was left behind is reset") {
    const watchdog limit;
    service_options options = two();
    options.reactor.held_send_stop_timeout = 20ms;
    service s(options);
    wire w;
    run_service(s, [&]() -> task<> {
        co_await held_and_moved(w);
        auto sent = co_await on(1, finish, std::move(w.stream));
        CHECK(sent.has_value());
        s.request_stop();
        s.request_stop();  // no drain: cancel
    });
    CHECK_FALSE(take_all(w.peer, 1, large));
    CHECK(errno == ECONNRESET);
}

SLUICE_ZERO_COPY_TEST("zero copy: memory of one reactor goes out from another") {
    const watchdog limit;
    service s(two());
    run_service(s, []() -> task<> {
        wire in = co_await make_wire();
        static constexpr std::size_t total = 1 << 20;
        peer_thread sender([&] { CHECK(in.peer.send(pattern(3).bytes(0, total))); });
        wire out = co_await make_wire();
        auto moved = co_await out.stream.move_to(1);
        CHECK(moved.has_value());
        peer_thread reader([&] { CHECK(take_all(out.peer, 3, total)); });
        tcp_stream away = std::move(out.stream);
        for (std::size_t done = 0; done < total;) {
            auto chunk = co_await in.stream.recv();
            REQUIRE(chunk.has_value());
            done += chunk->size();
            auto returned = co_await on(
                1,
                [](tcp_stream there, rx_buffer buffer) -> task<tcp_stream> {
                    auto sent = co_await there.send_all(std::move(buffer));
                    CHECK(sent.has_value());
                    co_return there;
                },
                std::move(away), std::move(*chunk));
            REQUIRE(returned.has_value());
            away = std::move(*returned);
        }
        co_await sender.finished();
        co_await reader.finished();
        // Each ring registers memory for itself.
        const auto counted = co_await on(1, [] { return stats(); });
        const net_stats there = counted.value();
        CHECK(there.zero_copy_sends > 0);
        CHECK(there.fixed_regions == 1);
        CHECK(there.fixed_refused == 0);
        CHECK(stats().fixed_regions == 0);
        co_await on(
            1,
            [](tcp_stream stream) -> task<> {
                co_await stream.close();
                CHECK(co_await until([] { return stats().held_sends == 0; }));
            },
            std::move(away));
    });
}

SLUICE_ZERO_COPY_TEST("zero copy: memory of a reactor that has gone") {
    const watchdog limit;
    std::unique_ptr<rx_buffer> received;
    std::thread([&] {
        const auto home = sluice::testing::make_reactor();
        home->spawn([&]() -> task<> {
            wire in = co_await make_wire();
            CHECK(in.peer.send(pattern(4).bytes(0, 10'000)));
            auto chunk = co_await in.stream.recv();
            REQUIRE(chunk.has_value());
            received = std::make_unique<rx_buffer>(std::move(*chunk));
        });
        home->run_until_idle();
    }).join();
    REQUIRE(received != nullptr);
    sluice::testing::run_zero_copy([&](reactor& home) -> task<> {
        const std::size_t half = received->size() / 2;
        for (std::size_t i = 0; i < 2; ++i) {
            wire out = co_await make_wire();
            auto sent = co_await out.stream.send_all(received->split(half));
            CHECK(sent.value() == half);
            std::vector<std::byte> got(half);
            CHECK(out.peer.recv_exact(got));
            CHECK(pattern(4).matches(i * half, got));
            CHECK(co_await until([&] { return net_stats_of(home).held_sends == 0; }));
            CHECK(net_stats_of(home).fixed_regions == 1);
        }
        received.reset();
        // It has gone with its last buffer, which is noticed when other memory is registered.
        wire both = co_await make_wire();
        CHECK(both.peer.send(pattern(4).bytes(0, 10'000)));
        auto own = co_await both.stream.recv();
        REQUIRE(own.has_value());
        const std::size_t size = own->size();
        auto sent = co_await both.stream.send_all(std::move(*own));
        CHECK(sent.has_value());
        CHECK(take_all(both.peer, 4, size));
        CHECK(net_stats_of(home).fixed_regions == 1);
        CHECK(net_stats_of(home).fixed_refused == 0);
    });
}

SLUICE_ZERO_COPY_TEST("zero copy: a service stops in time, whoever does not read") {
    const watchdog limit;
    for (const bool patient : {false, true}) {
        CAPTURE(patient);
        service_options options = two();
        options.drain_timeout = 30ms;
        options.cancel_timeout = 100ms;
        // Longer than the service waits: then it abandons the reactors.
        options.reactor.held_send_stop_timeout = patient ? 100'000ms : 20ms;
        service s(options);
        std::vector<plain_socket> peers;
        std::mutex mutex;
        std::atomic<int> ready{0};
        const auto started = s.start([&](reactor&) -> task<> {
            for (const bool closed : {false, true}) {
                wire w = co_await holding_wire();
                auto sent = co_await w.stream.send_all(buffer_of(1, 0, large));
                CHECK(sent.has_value());
                {
                    const std::lock_guard lock(mutex);
                    peers.push_back(std::move(w.peer));
                }
                if (closed) {
                    co_await w.stream.close();
                    continue;
                }
                reactor::current()->spawn(
                    [](tcp_stream open) -> task<> { static_cast<void>(co_await open.recv()); },
                    std::move(w.stream));
            }
            ++ready;
        });
        REQUIRE(started.has_value());
        while (ready != 2) std::this_thread::sleep_for(1ms);
        const auto began = std::chrono::steady_clock::now();
        s.request_stop();
        const auto report = s.wait();
        CHECK(std::chrono::steady_clock::now() - began < 20s);
        INFO(report.to_string());
        for (const auto& r : report.reactors) CHECK(r.stats.tasks_destroyed == 0);
        for (auto& peer : peers) CHECK_FALSE(take_all(peer, 1, large));
    }
}

TEST_SUITE_END();
