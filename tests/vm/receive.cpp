// SPDX-License-Identifier: Apache-2.0
// Bytes that arrive in the area: every one is checked, and every token goes back.

#include <cstdio>
#include <vector>

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
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::run_zcrx;
using sluice::testing::small_area;
using sluice::testing::wire;

namespace {

//! Receives to the end; gives how many bytes came intact.
task<std::uint64_t> receive_all(wire& w, std::uint64_t seed) {
    pattern_reader reader(seed);
    for (;;) {
        auto chunk = co_await with_timeout(20s, w.stream.recv());
        if (!chunk) {
            CHECK(chunk.error() == sluice::error::eof);
            break;
        }
        reader.take(chunk->bytes());
    }
    CHECK(reader.intact());
    co_return reader.taken();
}

}  // namespace

TEST_SUITE_BEGIN("vm.receive");

TEST_CASE("zcrx: 16 MiB through an area of 4 MiB") {
    if (!has_device_less_queues()) return;
    static constexpr std::uint64_t total = 16 << 20;
    const auto outcome = run_zcrx(
        []() -> task<> {
            wire w = co_await make_wire();
            peer_thread sender([&] {
                CHECK(w.peer.send(pattern(1).bytes(0, total)));
                w.peer.shutdown_write();
            });
            CHECK(co_await receive_all(w, 1) == total);
            co_await sender.finished();
        },
        small_area(1024));
    CHECK(outcome.net.net.zero_copy_connections == 1);
    CHECK(outcome.net.net.zero_copy_bytes == total);
    CHECK(outcome.net.net.enobufs == 0);
    CHECK(outcome.queue.tokens_delivered >= total / 4096);
    CHECK(outcome.queue.publications < outcome.queue.tokens_delivered);
}

TEST_CASE("zcrx: the end of the stream carries no chunk") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire();
            CHECK(w.peer.send(pattern(2).bytes(0, 4096)));
            auto held = co_await with_timeout(5s, w.stream.recv());
            REQUIRE(held.has_value());
            w.peer.shutdown_write();
            auto end = co_await with_timeout(5s, w.stream.recv());
            CHECK(end.error() == sluice::error::eof);
            CHECK(pattern(2).matches(0, held->bytes()));
            CHECK(zcrx_stats_of(home).balanced());
            CHECK(zcrx_stats_of(home).tokens_held == zcrx_stats_of(home).chunks_out);
        },
        small_area(64));
}

TEST_SUITE_END();
