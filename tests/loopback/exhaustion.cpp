// SPDX-License-Identifier: Apache-2.0
// Too few buffers: receives wait for one that comes back, in order, and no byte is lost.

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::net_stats_of;
using sluice::nursery;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rx_buffer;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::run_net;
using sluice::testing::until;
using sluice::testing::wire;

namespace {

reactor_options few_buffers() {
    reactor_options options;
    options.recv_buffers = 4;
    options.recv_buffer_size = 4096;
    options.copy_out_below = 0;
    options.heap_receive_size = 0;
    options.zcrx.marks = {0, 0, 0, 0};  // what is held is not copied
    return options;
}

//! Receives on `w` until no buffer is with the kernel, and keeps what it got.
task<> hoard(reactor& home, wire& w, std::vector<rx_buffer>& held) {
    const std::vector<std::byte> fodder(4096);
    while (net_stats_of(home).buffers_kernel != 0) {
        CHECK(w.peer.send(fodder));
        auto chunk = co_await with_timeout(5s, w.stream.recv());
        REQUIRE(chunk.has_value());
        held.push_back(std::move(*chunk));
    }
}

}  // namespace

TEST_SUITE_BEGIN("loopback.exhaustion");

TEST_CASE("exhaustion: all buffers held, counted, released: the stream goes on intact") {
    static constexpr std::uint64_t total = 200'000;
    const auto outcome = run_net(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire();
            peer_thread sender([&] {
                CHECK(w.peer.send(pattern(2).bytes(0, total)));
                w.peer.shutdown_write();
            });
            std::vector<rx_buffer> held;
            pattern_reader reader(2);
            boost::system::error_code end;
            while (!end) {
                auto chunk = co_await with_timeout(50ms, w.stream.recv());
                if (chunk) {
                    reader.take(chunk->bytes());
                    held.push_back(std::move(*chunk));
                } else if (chunk.error() == sluice::error::timeout) {
                    // Nothing comes any more: everything is here.
                    CHECK(net_stats_of(home).enobufs > 0);
                    CHECK(net_stats_of(home).buffers_kernel == 0);
                    held.clear();
                } else {
                    end = chunk.error();
                }
            }
            CHECK(end == sluice::error::eof);
            CHECK(reader.intact());
            CHECK(reader.taken() == total);
            co_await sender.finished();
        },
        few_buffers());
    CHECK(outcome.net.enobufs > 0);
    CHECK(outcome.net.rearmed > 0);
}

TEST_CASE("exhaustion: while all buffers are held a receive reads into heap memory") {
    static constexpr std::uint64_t total = 300'000;
    reactor_options options = few_buffers();
    options.heap_receive_size = 8192;
    const auto outcome = run_net(
        [](reactor& home) -> task<> {
            wire hoarder = co_await make_wire();
            std::vector<rx_buffer> held;
            co_await hoard(home, hoarder, held);
            wire w = co_await make_wire();
            peer_thread sender([&] {
                CHECK(w.peer.send(pattern(3).bytes(0, total)));
                w.peer.shutdown_write();
            });
            pattern_reader reader(3);
            std::vector<rx_buffer> kept;  // not even this keeps the stream from going on
            for (;;) {
                auto chunk = co_await with_timeout(20s, w.stream.recv());
                if (!chunk) {
                    CHECK(chunk.error() == sluice::error::eof);
                    break;
                }
                reader.take(chunk->bytes());
                kept.push_back(std::move(*chunk));
            }
            CHECK(reader.intact());
            CHECK(reader.taken() == total);
            CHECK(net_stats_of(home).heap_receives > 0);
            co_await sender.finished();

            // A buffer comes back: the next receive uses it.
            held.clear();
            kept.clear();
            const auto before = net_stats_of(home).heap_receives;
            const std::vector<std::byte> more(4096);
            CHECK(hoarder.peer.send(more));
            auto chunk = co_await with_timeout(20s, hoarder.stream.recv());
            REQUIRE(chunk.has_value());
            CHECK(chunk->block()->source != nullptr);
            CHECK(net_stats_of(home).heap_receives == before);
        },
        options);
    CHECK(outcome.net.buffers_lent == 0);
}

TEST_CASE("exhaustion: a receive into heap memory can be cancelled and loses nothing") {
    reactor_options options = few_buffers();
    options.heap_receive_size = 8192;
    run_net(
        [](reactor& home) -> task<> {
            wire hoarder = co_await make_wire();
            std::vector<rx_buffer> held;
            co_await hoard(home, hoarder, held);
            wire w = co_await make_wire();
            pattern_reader reader(4);
            for (int i = 0; i < 20; ++i) {
                CHECK(w.peer.send(pattern(4).bytes(static_cast<std::uint64_t>(i) * 100, 100)));
                std::array<std::byte, 1> one{};
                const auto got = co_await with_timeout(0ms, w.stream.recv_into(one));
                if (got) reader.take(one);
            }
            while (reader.taken() < 2000) {
                auto chunk = co_await with_timeout(20s, w.stream.recv());
                REQUIRE(chunk.has_value());
                reader.take(chunk->bytes());
            }
            CHECK(reader.intact());
            auto closing = co_await make_wire();  // closed while its receive is at the kernel
            static_cast<void>(co_await with_timeout(1ms, closing.stream.recv()));
            co_await closing.stream.close();
        },
        options);
}

TEST_CASE("exhaustion: those who wait are served first come, first served") {
    run_net(
        [](reactor& home) -> task<> {
            wire hoarder = co_await make_wire();
            std::vector<rx_buffer> held;
            co_await hoard(home, hoarder, held);
            constexpr std::size_t count = 4;
            std::vector<wire> wires;
            for (std::size_t i = 0; i < count; ++i) {
                wire w = co_await make_wire();
                wires.push_back(std::move(w));
            }
            std::vector<std::size_t> order;
            std::vector<rx_buffer> taken;
            const auto receive = [&](std::size_t i) -> task<> {
                auto chunk = co_await with_timeout(20s, wires[i].stream.recv());
                REQUIRE(chunk.has_value());
                order.push_back(i);
                taken.push_back(std::move(*chunk));
            };
            auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
                const std::vector<std::byte> full(4096);
                for (std::size_t i = 0; i < count; ++i) {
                    const auto before = net_stats_of(home).enobufs;
                    CHECK(wires[i].peer.send(full));
                    scope.spawn(receive, i);
                    const bool starves =
                        co_await until([&] { return net_stats_of(home).enobufs > before; });
                    CHECK(starves);
                }
                // Each buffer serves one of them, because each of them fills one.
                for (std::size_t i = 0; i < count; ++i) {
                    CHECK(order.size() == i);
                    held.erase(std::find_if(held.begin(), held.end(),
                                            [](const rx_buffer& b) { return b.size() == 4096; }));
                    const bool served = co_await until([&] { return order.size() == i + 1; });
                    CHECK(served);
                }
            });
            CHECK(outcome.has_value());
            CHECK(order == std::vector<std::size_t>{0, 1, 2, 3});
        },
        few_buffers());
}

TEST_CASE("exhaustion: what is left of a buffer serves the next in line") {
    run_net(
        [](reactor& home) -> task<> {
            wire hoarder = co_await make_wire();
            std::vector<rx_buffer> held;
            co_await hoard(home, hoarder, held);
            wire little = co_await make_wire();
            wire next = co_await make_wire();
            std::optional<rx_buffer> first;
            std::optional<rx_buffer> second;
            auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
                const auto before = net_stats_of(home).enobufs;
                CHECK(little.peer.send("little"));
                scope.spawn([&]() -> task<> {
                    auto chunk = co_await with_timeout(3s, little.stream.recv());
                    if (chunk) first = std::move(*chunk);
                });
                const bool one =
                    co_await until([&] { return net_stats_of(home).enobufs > before; });
                CHECK(one);
                CHECK(next.peer.send("next"));
                scope.spawn([&]() -> task<> {
                    auto chunk = co_await with_timeout(3s, next.stream.recv());
                    if (chunk) second = std::move(*chunk);
                });
                const bool two =
                    co_await until([&] { return net_stats_of(home).enobufs > before + 1; });
                CHECK(two);
                // One comes back and is hardly used: there is room for both.
                held.erase(std::find_if(held.begin(), held.end(),
                                        [](const rx_buffer& b) { return b.size() == 4096; }));
            });
            CHECK(outcome.has_value());
            REQUIRE(first.has_value());
            CHECK(first->text() == "little");
            if (home.ring_features().has("PBUF_RING_INC")) {
                REQUIRE(second.has_value());
                CHECK(second->text() == "next");
            }
        },
        few_buffers());
}

TEST_CASE("exhaustion: one that can't use its turn passes it on") {
    reactor_options options = few_buffers();
    options.max_pending_bytes = 8192;
    run_net(
        [](reactor& home) -> task<> {
            // A connection with more than half of its credit waiting starves, and nobody reads it.
            wire lazy = co_await make_wire();
            wire hoarder = co_await make_wire();
            wire next = co_await make_wire();
            auto armed = co_await with_timeout(1ms, lazy.stream.recv());
            CHECK(armed.has_error());
            CHECK(lazy.peer.send(std::vector<std::byte>(6000)));
            const bool waits = co_await until([&] { return lazy.stream.pending() == 6000; });
            CHECK(waits);
            std::vector<rx_buffer> held;
            co_await hoard(home, hoarder, held);
            const auto before = net_stats_of(home).enobufs;
            CHECK(lazy.peer.send("more"));
            const bool starves =
                co_await until([&] { return net_stats_of(home).enobufs > before; });
            CHECK(starves);
            std::string got;
            auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
                CHECK(next.peer.send("served"));
                scope.spawn([&]() -> task<> {
                    auto chunk = co_await with_timeout(3s, next.stream.recv());
                    if (chunk) got = chunk->text();
                });
                held.clear();
                co_return;
            });
            CHECK(outcome.has_value());
            CHECK(got == "served");
        },
        options);
}

TEST_CASE("exhaustion: one that is closed while it waits passes its turn on") {
    run_net(
        [](reactor& home) -> task<> {
            wire hoarder = co_await make_wire();
            std::vector<rx_buffer> held;
            co_await hoard(home, hoarder, held);
            wire first = co_await make_wire();
            wire second = co_await make_wire();
            boost::system::error_code closed;
            std::string got;
            auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
                const auto before = net_stats_of(home).enobufs;
                CHECK(first.peer.send("never read"));
                scope.spawn([&]() -> task<> {
                    auto chunk = co_await first.stream.recv();
                    if (!chunk) closed = chunk.error();
                });
                const bool one =
                    co_await until([&] { return net_stats_of(home).enobufs > before; });
                CHECK(one);
                CHECK(second.peer.send("served"));
                scope.spawn([&]() -> task<> {
                    auto chunk = co_await with_timeout(3s, second.stream.recv());
                    if (chunk) got = chunk->text();
                });
                const bool two =
                    co_await until([&] { return net_stats_of(home).enobufs > before + 1; });
                CHECK(two);
                first.stream = sluice::tcp_stream{};
                held.pop_back();
                held.erase(held.begin());
            });
            CHECK(outcome.has_value());
            CHECK(closed == boost::system::errc::operation_canceled);
            CHECK(got == "served");
        },
        few_buffers());
}

TEST_CASE("exhaustion: a timeout while starved loses nothing") {
    run_net(
        [](reactor& home) -> task<> {
            wire hoarder = co_await make_wire();
            wire w = co_await make_wire();
            std::vector<rx_buffer> held;
            co_await hoard(home, hoarder, held);
            CHECK(w.peer.send("patience"));
            for (int i = 0; i < 3; ++i) {
                auto none = co_await with_timeout(5ms, w.stream.recv());
                REQUIRE(none.has_error());
                CHECK(none.error() == sluice::error::timeout);
            }
            held.clear();
            auto chunk = co_await with_timeout(5s, w.stream.recv());
            REQUIRE(chunk.has_value());
            CHECK(chunk->text() == "patience");
        },
        few_buffers());
}

TEST_CASE("exhaustion: forty connections share four buffers") {
    static constexpr std::uint64_t total = 100'000;
    static constexpr std::uint64_t connections = 40;
    const auto outcome = run_net(
        []() -> task<> {
            std::vector<wire> wires;
            for (std::uint64_t i = 0; i < connections; ++i) {
                wire w = co_await make_wire();
                wires.push_back(std::move(w));
            }
            peer_thread sender([&] {
                for (std::uint64_t sent = 0; sent < total; sent += 10'000)
                    for (std::uint64_t i = 0; i < connections; ++i)
                        CHECK(wires[i].peer.send(pattern(i).bytes(sent, 10'000)));
                for (wire& w : wires) w.peer.shutdown_write();
            });
            auto all = co_await with_nursery([&](nursery& scope) -> task<> {
                for (std::uint64_t i = 0; i < connections; ++i)
                    scope.spawn([&wires, i]() -> task<> {
                        pattern_reader reader(i);
                        for (;;) {
                            auto chunk = co_await wires[i].stream.recv();
                            if (!chunk) break;
                            reader.take(chunk->bytes());
                            // Held over a turn or a few.
                            if (i % 3 == 0) co_await sluice::yield();
                            if (i % 3 == 1) static_cast<void>(co_await sluice::sleep_for(10us));
                        }
                        CHECK(reader.intact());
                        CHECK(reader.taken() == total);
                    });
                co_return;
            });
            CHECK(all.has_value());
            co_await sender.finished();
        },
        few_buffers());
    CHECK(outcome.net.bytes_in == total * connections);
    CHECK(outcome.net.rearmed <= outcome.net.enobufs);
}

TEST_CASE("exhaustion: small slices are copied out instead of keeping whole buffers") {
    reactor_options options = few_buffers();
    options.copy_out_below = 4096;
    options.max_pinned_bytes = 4096;
    options.zcrx.marks = {};
    const auto outcome = run_net(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire();
            wire other = co_await make_wire();
            // Two connections take turns, so that their slices don't lie together.
            for (wire* each : {&w, &other}) {
                auto armed = co_await with_timeout(1ms, each->stream.recv());
                CHECK(armed.has_error());
            }
            pattern_reader reader(1);
            pattern_reader other_reader(2);
            constexpr std::uint64_t rounds = 100;
            for (std::uint64_t i = 0; i < rounds; ++i) {
                const std::size_t there = w.stream.pending() + other.stream.pending();
                CHECK(w.peer.send(pattern(1).bytes(i * 200, 200)));
                CHECK(other.peer.send(pattern(2).bytes(i * 200, 200)));
                const bool came = co_await until(
                    [&] { return w.stream.pending() + other.stream.pending() == there + 400; });
                REQUIRE(came);
            }
            // Far more was received than four buffers hold.
            CHECK(net_stats_of(home).copied_out > 0);
            CHECK(net_stats_of(home).buffers_kernel > 0);
            while (reader.taken() < rounds * 200) {
                auto chunk = co_await w.stream.recv();
                REQUIRE(chunk.has_value());
                reader.take(chunk->bytes());
            }
            while (other_reader.taken() < rounds * 200) {
                auto chunk = co_await other.stream.recv();
                REQUIRE(chunk.has_value());
                other_reader.take(chunk->bytes());
            }
            CHECK(reader.intact());
            CHECK(other_reader.intact());
        },
        options);
    CHECK(outcome.net.copied_out > 0);
}

TEST_SUITE_END();
