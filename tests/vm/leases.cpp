// SPDX-License-Identifier: Apache-2.0
// Who may hold a lease, how many of one chunk, on which thread, and how long after what.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>
#include <vector>

#include "sluice/stream_reader.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::net_stats_of;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rx_buffer;
using sluice::task;
using sluice::with_timeout;
using sluice::zcrx_stats_of;
using sluice::testing::has_device_less_queues;
using sluice::testing::make_reactor;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::run_zcrx;
using sluice::testing::small_area;
using sluice::testing::some_turns;
using sluice::testing::until;
using sluice::testing::wire;

namespace {

//! One whole chunk's worth of bytes, received.
task<rx_buffer> one_chunk(wire& w, std::uint64_t seed) {
    CHECK(w.peer.send(pattern(seed).bytes(0, 4096)));
    auto chunk = co_await with_timeout(5s, w.stream.recv());
    REQUIRE(chunk.has_value());
    co_return std::move(*chunk);
}

}  // namespace

TEST_SUITE_BEGIN("vm.leases");

TEST_CASE("zcrx: hundreds of slices of one chunk, let go in any order") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire();
            rx_buffer whole = co_await one_chunk(w, 1);
            const std::size_t size = whole.size();
            std::vector<rx_buffer> slices;
            for (std::size_t i = 0; i < 400; ++i) slices.push_back(whole.slice(i * 7, 100));
            whole.reset();
            const auto held = zcrx_stats_of(home);
            CHECK(held.tokens_held >= 1);
            CHECK(held.handles == 400);
            for (std::size_t i = 0; i < 400; ++i)
                CHECK(pattern(1).matches(i * 7, slices[i].bytes()));
            CHECK(size == 4096);
            for (std::size_t i = 0; i < 400; i += 2) slices[i].reset();
            CHECK(zcrx_stats_of(home).handles == 200);
            slices.clear();
            co_await some_turns();
            CHECK(zcrx_stats_of(home).tokens_held == 0);
        },
        small_area(64));
}

TEST_CASE("zcrx: share, split and copy") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire();
            rx_buffer whole = co_await one_chunk(w, 2);
            rx_buffer front = whole.split(1000);
            rx_buffer again = front.share();
            rx_buffer apart = front.copy();
            front.reset();
            CHECK(pattern(2).matches(0, again.bytes()));
            CHECK(pattern(2).matches(1000, whole.bytes()));
            again.reset();
            whole.reset();
            co_await some_turns();
            CHECK(zcrx_stats_of(home).tokens_held == 0);
            CHECK(pattern(2).matches(0, apart.bytes()));
        },
        small_area(64));
}

TEST_CASE("zcrx: retain() copies when chunks are short, and only then") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire();
            std::vector<rx_buffer> held;
            held.push_back(co_await one_chunk(w, 0));
            const std::byte* place = held[0].data();
            held[0].retain();
            CHECK(held[0].data() == place);
            while (zcrx_stats_of(home).chunks_out <= 48)
                held.push_back(co_await one_chunk(w, held.size()));
            const std::int64_t before = zcrx_stats_of(home).handles;
            held[0].retain();
            CHECK(held[0].data() != place);
            CHECK(zcrx_stats_of(home).handles == before - 1);
            for (std::size_t i = 0; i < held.size(); ++i)
                CHECK(pattern(i).matches(0, held[i].bytes()));
        },
        sluice::testing::bare_area(64));
}

TEST_CASE("zcrx: leases that die on another thread come home") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire();
            for (std::uint64_t round = 0; round < 20; ++round) {
                std::vector<rx_buffer> held;
                for (std::uint64_t i = 0; i < 32; ++i)
                    held.push_back(co_await one_chunk(w, round * 32 + i));
                std::thread([&] {
                    for (std::uint64_t i = 0; i < 32; ++i)
                        CHECK(pattern(round * 32 + i).matches(0, held[i].bytes()));
                    held.clear();
                }).join();
            }
            CHECK(co_await until([&] { return zcrx_stats_of(home).tokens_held == 0; }));
        },
        small_area(64));
}

TEST_CASE("zcrx: a lease outlives its connection") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        [](reactor& home) -> task<> {
            rx_buffer held;
            {
                wire w = co_await make_wire();
                held = co_await one_chunk(w, 3);
                co_await w.stream.close();
            }
            co_await some_turns();
            CHECK(net_stats_of(home).open == 0);
            CHECK(pattern(3).matches(0, held.bytes()));
        },
        small_area(64));
}

TEST_CASE("zcrx: a lease outlives its reactor, its ring and its thread") {
    if (!has_device_less_queues()) return;
    rx_buffer held;
    std::thread([&] {
        const auto home = make_reactor(small_area(64));
        home->spawn([&]() -> task<> {
            wire w = co_await make_wire();
            held = co_await one_chunk(w, 4);
        });
        home->run_until_idle();
    }).join();
    CHECK(pattern(4).matches(0, held.bytes()));
    rx_buffer more = held.slice(100, 100);
    held.reset();
    CHECK(pattern(4).matches(100, more.bytes()));
}

TEST_CASE("zcrx: bytes that wait in a connection go back with it") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire();
            rx_buffer first = co_await one_chunk(w, 5);
            CHECK(w.peer.send(pattern(5).bytes(0, 100'000)));
            CHECK(co_await until([&] { return zcrx_stats_of(home).chunks_out > 20; }));
            co_await w.stream.close();
            first.reset();
            co_await some_turns();
            CHECK(zcrx_stats_of(home).tokens_held == 0);
        },
        small_area(64));
}

TEST_CASE("zcrx: receives that are cancelled or time out lose nothing") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        []() -> task<> {
            wire w = co_await make_wire();
            sluice::testing::pattern_reader reader(6);
            for (int round = 0; round < 20; ++round) {
                auto nothing = co_await with_timeout(1ms, w.stream.recv());
                CHECK(nothing.error() == sluice::error::timeout);
                CHECK(w.peer.send(pattern(6).bytes(reader.taken(), 10'000)));
                const std::uint64_t goal = reader.taken() + 10'000;
                while (reader.taken() < goal) {
                    auto chunk = co_await with_timeout(0ms, w.stream.recv());
                    if (chunk) reader.take(chunk->bytes());
                }
            }
            CHECK(reader.intact());
        },
        small_area(64));
}

TEST_CASE("zcrx: exact numbers of bytes over many chunks, without a copy") {
    if (!has_device_less_queues()) return;
    const auto outcome = run_zcrx(
        []() -> task<> {
            wire w = co_await make_wire();
            sluice::stream_reader reader(w.stream);
            CHECK(w.peer.send(pattern(7).bytes(0, 100'000)));
            auto chain = co_await with_timeout(5s, reader.recv_exact(70'000));
            REQUIRE(chain.has_value());
            std::uint64_t at = 0;
            for (std::size_t i = 0; i < chain->count(); ++i) {
                CHECK(pattern(7).matches(at, (*chain)[i].bytes()));
                at += (*chain)[i].size();
            }
            CHECK(at == 70'000);
            std::vector<std::byte> rest(30'000);
            auto filled = co_await with_timeout(5s, reader.recv_exact(30'000));
            REQUIRE(filled.has_value());
        },
        small_area(64));
    CHECK(outcome.net.net.copied_out == 0);
}

TEST_CASE("zcrx: recv_into copies to the caller's own place") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        []() -> task<> {
            wire w = co_await make_wire();
            CHECK(w.peer.send(pattern(8).bytes(0, 50'000)));
            std::vector<std::byte> own(50'000);
            std::size_t got = 0;
            while (got < own.size()) {
                auto n = co_await with_timeout(5s, w.stream.recv_into(std::span(own).subspan(got)));
                REQUIRE(n.has_value());
                got += *n;
            }
            CHECK(pattern(8).matches(0, own));
        },
        small_area(64));
}

TEST_CASE("zcrx: a child process has neither the area nor the rings") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        []() -> task<> {
            wire w = co_await make_wire();
            rx_buffer held = co_await one_chunk(w, 9);
            const pid_t child = ::fork();
            if (child == 0) {
                // The lease's bytes are not there: reading them ends this process, without a word
                // from the test framework.
                ::signal(SIGSEGV, SIG_DFL);
                volatile const std::byte* there = held.data();
                static_cast<void>(*there);
                ::_exit(0);
            }
            int status = 0;
            CHECK(::waitpid(child, &status, 0) == child);
            CHECK(WIFSIGNALED(status));
            CHECK(pattern(9).matches(0, held.bytes()));
            rx_buffer next = co_await one_chunk(w, 10);
            CHECK(pattern(10).matches(0, next.bytes()));
        },
        small_area(64));
}

TEST_SUITE_END();
