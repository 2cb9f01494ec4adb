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
using sluice::tcp_stream;
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

TEST_CASE("zcrx: the mode of a listener and of a connection decides") {
    if (!has_device_less_queues()) return;
    reactor_options options = small_area(64);
    options.zcrx.mode = sluice::receive_mode::automatic;
    const auto outcome = run_zcrx(
        [](reactor& home) -> task<> {
            for (const auto mode : {sluice::receive_mode::copy, sluice::receive_mode::zc,
                                    sluice::receive_mode::automatic}) {
                sluice::listen_options how;
                how.mode = mode;
                auto group = sluice::listener_group::open(
                    sluice::endpoint::of("127.0.0.1", 0).value(), 1, how);
                REQUIRE(group.has_value());
                auto listener = sluice::tcp_listener::open(home, *group);
                REQUIRE(listener.has_value());
                sluice::connect_options from;
                from.mode = mode;
                auto client = co_await tcp_stream::connect(group->local(), from);
                REQUIRE(client.has_value());
                auto server = co_await listener->accept();
                REQUIRE(server.has_value());
                for (auto* way : {&*client, &*server}) {
                    auto& to = way == &*client ? *server : *client;
                    const auto bytes = pattern(3).bytes(0, 5000);
                    auto sent = co_await way->send_all(std::span(bytes));
                    REQUIRE(sent.has_value());
                    std::vector<std::byte> got(5000);
                    for (std::size_t n = 0; n < got.size();) {
                        auto more = co_await to.recv_into(std::span(got).subspan(n));
                        REQUIRE(more.has_value());
                        n += *more;
                    }
                    CHECK(pattern(3).matches(0, got));
                }
            }
        },
        options);
    CHECK(outcome.net.net.zero_copy_connections == 4);
    CHECK(outcome.net.net.zero_copy_bytes == 4 * 5000);
}

TEST_CASE("zcrx: room is granted before: who comes late gets less, then copies") {
    if (!has_device_less_queues()) return;
    reactor_options options = small_area(64);
    options.zcrx.max_leases_per_connection = 16;
    const auto outcome = run_zcrx(
        [](reactor& home) -> task<> {
            std::vector<wire> wires;
            for (int i = 0; i < 12; ++i) {
                wires.push_back(co_await make_wire());
                CHECK(wires.back().peer.send(pattern(4).bytes(0, 4096)));
                auto chunk = co_await with_timeout(5s, wires.back().stream.recv());
                REQUIRE(chunk.has_value());
                CHECK(pattern(4).matches(0, chunk->bytes()));
            }
            CHECK(net_stats_of(home).zero_copy_connections == 12);
        },
        options);
    CHECK(outcome.net.net.grants_cut > 0);
    CHECK(outcome.net.net.copied_out > 0);
    CHECK(outcome.net.net.zero_copy_bytes > 0);
}

TEST_CASE("zcrx: what the kernel can is said, and why it can't") {
    reactor_options options = small_area(16);
    options.zcrx.mode = sluice::receive_mode::automatic;
    const auto home = sluice::testing::make_reactor(options);
    home->spawn([]() -> task<> { static_cast<void>(co_await make_wire()); });
    home->run_until_idle();
    const sluice::features& found = home->ring_features();
    const bool can = zcrx_stats_of(*home).in_use;
    for (const char* name : {"RECV_ZC", "ZCRX_SEVERAL_QUEUES", "ZCRX_RX_BUF_LEN", "ZCRX_DMABUF",
                             "ZCRX_EXPORT", "ZCRX_NODEV", "ZCRX_FLUSH_RQ", "ZCRX_EVENTS",
                             "ZCRX_STATS", "ZCRX_ADD_AREA", "ZCRX_CQE_MIXED"}) {
        CAPTURE(name);
        bool listed = false;
        for (const sluice::feature& f : found.list()) {
            if (f.name != name) continue;
            listed = true;
            CHECK(f.in_use != !f.why_not.empty());
        }
        CHECK(listed);
    }
    // Whoever registers a device-less queue has what came before it.
    if (!can) return;
    for (const char* name : {"RECV_ZC", "ZCRX_NODEV", "ZCRX_FLUSH_RQ", "ZCRX_EXPORT", "ZCRX"})
        CHECK(found.has(name));
}

TEST_SUITE_END();
