// SPDX-License-Identifier: Apache-2.0
// Coroutines hold every chunk, then let go: each remedy of the ladder by itself, with the counters
// that say what happened, and not a byte lost.

#include <algorithm>
#include <deque>
#include <vector>

#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::net_stats_of;
using sluice::nursery;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rung;
using sluice::rx_buffer;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::zcrx_stats_of;
using sluice::testing::bare_area;
using sluice::testing::has_device_less_queues;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::run_zcrx;
using sluice::testing::small_area;
using sluice::testing::until;
using sluice::testing::wire;

namespace {

constexpr std::uint64_t total = 4 << 20;
constexpr std::uint64_t seed = 5;

//! Keeps every slice until nothing comes for a while; then lets `let_go` of them end. Gives the
//! times that this happened.
task<int> hold_until_dry(wire& w, pattern_reader& reader, std::size_t let_go) {
    std::vector<rx_buffer> held;
    int dry = 0;
    for (;;) {
        auto chunk = co_await with_timeout(100ms, w.stream.recv());
        if (chunk) {
            reader.take(chunk->bytes());
            held.push_back(std::move(*chunk));
            continue;
        }
        if (chunk.error() != sluice::error::timeout) {
            CHECK(chunk.error() == sluice::error::eof);
            co_return dry;
        }
        ++dry;
        held.erase(held.begin(),
                   held.begin() + static_cast<std::ptrdiff_t>(std::min(let_go, held.size())));
    }
}

//! Holds what comes until nothing does, again and again, to the end of the stream.
auto hoarder(std::size_t let_go, int& dry) {
    return [let_go, &dry]() -> task<> {
        wire w = co_await make_wire();
        peer_thread sender([&] {
            CHECK(w.peer.send(pattern(seed).bytes(0, total)));
            w.peer.shutdown_write();
        });
        pattern_reader reader(seed);
        dry = co_await hold_until_dry(w, reader, let_go);
        CHECK(reader.intact());
        CHECK(reader.taken() == total);
        co_await sender.finished();
    };
}

//! Receives `bytes` of pattern `key`, while it holds the slices that came last.
task<> hold_the_latest(std::uint64_t key, std::uint64_t bytes) {
    wire w = co_await make_wire();
    peer_thread sender([&] {
        CHECK(w.peer.send(pattern(key).bytes(0, bytes)));
        w.peer.shutdown_write();
    });
    pattern_reader reader(key);
    std::deque<rx_buffer> held;
    for (;;) {
        auto chunk = co_await with_timeout(60s, w.stream.recv());
        if (!chunk) {
            CHECK(chunk.error() == sluice::error::eof);
            break;
        }
        reader.take(chunk->bytes());
        held.push_back(std::move(*chunk));
        if (held.size() > 24) held.pop_front();
    }
    CHECK(reader.intact());
    CHECK(reader.taken() == bytes);
    co_await sender.finished();
}

}  // namespace

TEST_SUITE_BEGIN("vm.exhaustion");

TEST_CASE("zcrx: without any rung that copies, the stream waits for chunks and goes on") {
    if (!has_device_less_queues()) return;
    int dry = 0;
    const auto outcome = run_zcrx(hoarder(SIZE_MAX, dry), bare_area(256));
    // 4 MiB through 1 MiB of chunks that are all held.
    CHECK(dry >= 4);
    CHECK(outcome.net.net.zero_copy_bytes == total);
    CHECK(outcome.net.net.enobufs >= 4);
    CHECK(outcome.net.net.rearmed >= 4);
    CHECK(outcome.net.net.heap_receives == 0);
    CHECK(outcome.queue.flushes > 0);
    const auto& ladder = outcome.net.net.zc_ladder;
    CHECK(ladder.of(rung::heal).entered >= 4);
    CHECK(ladder.of(rung::heal).entered == ladder.of(rung::heal).left);
    CHECK(ladder.of(rung::close_window).entered >= 4);
    CHECK(ladder.of(rung::close_window).entered == ladder.of(rung::close_window).left);
    CHECK(ladder.of(rung::grow).entered == 0);
    CHECK(outcome.queue.copy_events >= 1);
    CHECK(outcome.queue.alloc_fail_events == 0);  // a copy that finds no chunk is no such event
}

TEST_CASE("zcrx: one chunk that comes back is enough to go on") {
    if (!has_device_less_queues()) return;
    int dry = 0;
    run_zcrx(hoarder(8, dry), bare_area(512));
    CHECK(dry >= 16);
}

TEST_CASE("zcrx: the heap takes over while coroutines hold all chunks") {
    if (!has_device_less_queues()) return;
    reactor_options options = bare_area(64);
    options.heap_receive_size = 16 * 1024;
    int dry = 0;
    const auto outcome = run_zcrx(hoarder(0, dry), options);
    CHECK(outcome.net.net.heap_receives > 0);
    CHECK(outcome.net.net.zc_ladder.of(rung::heap).entered > 0);
    // It ends, although nothing was let go.
}

TEST_CASE("zcrx: above the marks slices are copied, and chunks never run out") {
    if (!has_device_less_queues()) return;
    int dry = 0;
    reactor_options options = small_area(256);
    const auto outcome = run_zcrx(hoarder(0, dry), options);
    CHECK(outcome.net.net.heap_receives == 0);
    CHECK(outcome.net.net.copied_out > 0);
    CHECK(outcome.net.net.zero_copy_bytes > 0);
    CHECK(outcome.net.net.zero_copy_bytes < total);
    CHECK(outcome.net.net.zc_ladder.of(rung::full_copy).entered >= 1);
    CHECK(outcome.net.net.zc_ladder.of(rung::full_copy).left >= 1);
}

TEST_CASE("zcrx: slices that nobody has taken are moved out of the way") {
    if (!has_device_less_queues()) return;
    reactor_options options = bare_area(64);
    options.zcrx.marks = {0, 0, 6, 12};
    options.max_pending_bytes = 1 << 20;
    const auto outcome = run_zcrx(
        [](reactor& home) -> task<> {
            wire sleeper = co_await make_wire();
            wire other = co_await make_wire();
            // Receives once, so that the multishot is armed, and then fills the area with what it
            // does not take.
            CHECK(sleeper.peer.send(pattern(6).bytes(0, 1)));
            auto first = co_await with_timeout(5s, sleeper.stream.recv());
            REQUIRE(first.has_value());
            CHECK(sleeper.peer.send(pattern(7).bytes(0, 256 * 1024)));
            CHECK(co_await until(
                [&] { return net_stats_of(home).zc_ladder.of(rung::evacuate).entered > 0; }));
            CHECK(other.peer.send(pattern(8).bytes(0, 100'000)));
            pattern_reader reader(8);
            while (reader.taken() < 100'000) {
                auto chunk = co_await with_timeout(20s, other.stream.recv());
                REQUIRE(chunk.has_value());
                reader.take(chunk->bytes());
            }
            CHECK(reader.intact());
            CHECK(net_stats_of(home).copied_out > 0);
            pattern_reader slept(7);
            while (slept.taken() < 256 * 1024) {
                auto chunk = co_await with_timeout(20s, sleeper.stream.recv());
                REQUIRE(chunk.has_value());
                slept.take(chunk->bytes());
            }
            CHECK(slept.intact());
        },
        options);
    CHECK(outcome.net.net.heap_receives == 0);
}

TEST_CASE("zcrx: the area grows up to its limit") {
    if (!has_device_less_queues()) return;
    reactor_options options = bare_area(64);
    options.zcrx.max_area_bytes = 4 * options.zcrx.area_bytes;
    int dry = 0;
    const auto outcome = run_zcrx(hoarder(SIZE_MAX, dry), options);
    CHECK(outcome.queue.areas == 4);
    CHECK(outcome.queue.chunks == 256);
    CHECK(outcome.net.net.zc_ladder.of(rung::grow).entered == 1);
    CHECK(dry >= 4);
}

TEST_CASE("zcrx: the area grows under the load of many connections") {
    if (!has_device_less_queues()) return;
    constexpr std::uint64_t connections = 16;
    constexpr std::uint64_t each = 1 << 20;
    reactor_options options = bare_area(64);
    options.zcrx.max_area_bytes = 8 * options.zcrx.area_bytes;
    const auto outcome = run_zcrx(
        [](reactor&) -> task<> {
            static_cast<void>(co_await with_nursery([](nursery& scope) -> task<> {
                for (std::uint64_t i = 0; i < connections; ++i)
                    scope.spawn([i] { return hold_the_latest(20 + i, each); });
                co_return;
            }));
        },
        options);
    // 16 connections hold 24 slices each: more than the first area has, less than all of them.
    CHECK(outcome.queue.areas > 1);
    CHECK(outcome.queue.areas <= 8);
    CHECK(outcome.queue.areas_refused == 0);
    CHECK(outcome.net.net.zero_copy_bytes == connections * each);
    CHECK(outcome.net.net.heap_receives == 0);
    const auto& ladder = outcome.net.net.zc_ladder;
    CHECK(ladder.of(rung::grow).entered == 1);
    CHECK(ladder.of(rung::grow).in_use());  // the memory stays
}

TEST_CASE("zcrx: a refill queue of 8 entries") {
    if (!has_device_less_queues()) return;
    reactor_options options = bare_area(256);
    options.zcrx.refill_entries = 8;
    int dry = 0;
    const auto outcome = run_zcrx(hoarder(SIZE_MAX, dry), options);
    CHECK(outcome.queue.flushes >= outcome.queue.tokens_delivered / 8 - 1);
}

TEST_CASE("zcrx: completion queues of 8, 16 and 32 entries") {
    if (!has_device_less_queues()) return;
    for (const std::uint32_t entries : {8U, 16U, 32U}) {
        CAPTURE(entries);
        reactor_options options = bare_area(256);
        options.sq_entries = entries / 2;
        options.cq_entries = entries;
        int dry = 0;
        const auto outcome = run_zcrx(hoarder(SIZE_MAX, dry), options);
        CHECK(outcome.net.net.enospc > 0);
        CHECK(outcome.net.net.bytes_in == total);
    }
}

TEST_SUITE_END();
