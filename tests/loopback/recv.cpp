// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::reactor_options;
using sluice::rx_buffer;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::testing::bytes_of;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::run_net;
using sluice::testing::wire;

namespace {

//! Sends `total` bytes of the pattern in pieces of random sizes, then ends its side.
void send_pattern(sluice::testing::plain_socket& to, std::uint64_t seed, std::uint64_t total) {
    const pattern source(seed);
    std::minstd_rand random(static_cast<std::uint32_t>(seed) + 1);
    std::vector<std::byte> piece(256 * 1024);
    for (std::uint64_t sent = 0; sent < total;) {
        const std::uint64_t wanted = 1 + random() % piece.size();
        const auto size = static_cast<std::size_t>(std::min(wanted, total - sent));
        source.fill(sent, std::span(piece).first(size));
        if (!to.send(std::span(piece).first(size))) return;
        sent += size;
    }
    to.shutdown_write();
}

//! Takes everything up to the end of the stream by recv() and recv_into() in turn, as `mix` says.
enum class mix { slices, copies, both };
task<> check_stream(tcp_stream& stream, std::uint64_t seed, std::uint64_t total, mix how) {
    pattern_reader reader(seed);
    std::vector<std::byte> space(100'000);
    boost::system::error_code end;
    for (unsigned i = 0; !end; ++i) {
        const bool copy = how == mix::copies || (how == mix::both && i % 3 == 0);
        if (copy) {
            const auto here = std::span(space).first(1 + (i * 7919) % space.size());
            const auto received = co_await stream.recv_into(here);
            if (received)
                reader.take(here.first(*received));
            else
                end = received.error();
        } else {
            const auto received = co_await stream.recv();
            if (received)
                reader.take(received->bytes());
            else
                end = received.error();
        }
    }
    CHECK(end == sluice::error::eof);
    CHECK(reader.intact());
    CHECK(reader.taken() == total);
}

}  // namespace

TEST_SUITE_BEGIN("loopback.recv");

TEST_CASE("recv: every byte of 1 B to 64 MiB, by slices, by copies and mixed") {
    for (const std::uint64_t total : {1ULL, 2ULL, 100ULL, 4095ULL, 65'536ULL, 65'537ULL,
                                      1'000'000ULL, 16ULL << 20, 64ULL << 20}) {
        for (const mix how : {mix::slices, mix::copies, mix::both}) {
            if (total > 20'000'000 && how != mix::both) continue;
            CAPTURE(total);
            run_net([&]() -> task<> {
                wire l = co_await make_wire();
                peer_thread peer([&] { send_pattern(l.peer, total, total); });
                co_await check_stream(l.stream, total, total, how);
                co_await peer.finished();
            });
        }
    }
}

TEST_CASE("recv: the same with few small buffers") {
    reactor_options options;
    options.recv_buffers = 2;
    options.recv_buffer_size = 100;
    for (const mix how : {mix::slices, mix::copies, mix::both})
        run_net(
            [&]() -> task<> {
                wire l = co_await make_wire();
                peer_thread peer([&] { send_pattern(l.peer, 5, 300'000); });
                co_await check_stream(l.stream, 5, 300'000, how);
                co_await peer.finished();
            },
            options);
}

SLUICE_NET_TEST("recv: chunks come as they were sent, and the end after them") {
    wire l = co_await make_wire();
    for (const char* text : {"one", "2", "and the third"}) {
        CHECK(l.peer.send(text));
        auto chunk = co_await l.stream.recv();
        REQUIRE(chunk.has_value());
        CHECK(chunk->text() == text);
        CHECK(l.stream.pending() == 0);
    }
    CHECK(l.peer.send("last"));
    l.peer.shutdown_write();
    co_await sluice::testing::some_turns();
    auto last = co_await l.stream.recv();
    REQUIRE(last.has_value());
    CHECK(last->text() == "last");
    for (int i = 0; i < 3; ++i) {
        auto end = co_await l.stream.recv();
        REQUIRE(end.has_error());
        CHECK(end.error() == sluice::error::eof);
    }
    std::byte one{};
    auto end = co_await l.stream.recv_into(std::span(&one, 1));
    CHECK(end.error() == sluice::error::eof);
    // Half-closed: the other direction lives.
    auto sent = co_await l.stream.send_all(bytes_of("still"));
    CHECK(sent.has_value());
    CHECK(l.peer.recv_text(5) == "still");
}

SLUICE_NET_TEST("recv: what lies together in memory comes as one slice") {
    wire l = co_await make_wire();
    CHECK(l.peer.send("a"));
    auto first = co_await l.stream.recv();  // from now on the receive is armed
    REQUIRE(first.has_value());
    for (const char* text : {"b", "c", "d"}) {
        CHECK(l.peer.send(text));
        co_await sluice::testing::some_turns();
    }
    CHECK(l.stream.pending() == 3);
    std::string all;
    while (all.size() < 3) {
        auto next = co_await l.stream.recv();
        REQUIRE(next.has_value());
        all += next->text();
    }
    CHECK(all == "bcd");
    CHECK(l.stream.pending() == 0);
}

SLUICE_NET_TEST("recv_into: takes what fits and leaves the rest") {
    wire l = co_await make_wire();
    CHECK(l.peer.send("0123456789"));
    std::string all;
    std::string part(3, '\0');
    while (all.size() < 10) {
        auto n = co_await l.stream.recv_into(std::as_writable_bytes(std::span(part)));
        REQUIRE(n.has_value());
        CHECK(*n >= 1);
        CHECK(*n <= 3);
        all.append(part, 0, *n);
        CHECK(l.stream.pending() == 10 - all.size());
    }
    CHECK(all == "0123456789");
}

SLUICE_NET_TEST("recv: two at once are a mistake, and harm nothing") {
    wire l = co_await make_wire();
    bool refused = false;
    std::string got;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto chunk = co_await l.stream.recv();
            if (chunk) got = chunk->text();
        });
        co_await sluice::testing::some_turns();
        std::byte one{};
        try {
            static_cast<void>(co_await l.stream.recv_into(std::span(&one, 1)));
        } catch (const std::logic_error&) {
            refused = true;
        }
        CHECK(l.peer.send("fine"));
    });
    CHECK(outcome.has_value());
    CHECK(refused);
    CHECK(got == "fine");
}

SLUICE_NET_TEST("recv: over a Unix socket and on an accepted connection") {
    for (const bool unix_socket : {true, false}) {
        auto making =
            unix_socket ? sluice::testing::make_unix_wire() : sluice::testing::make_accepted_wire();
        wire l = co_await std::move(making);
        peer_thread peer([&] { send_pattern(l.peer, 9, 3'000'000); });
        co_await check_stream(l.stream, 9, 3'000'000, mix::both);
        co_await peer.finished();
    }
}

SLUICE_NET_TEST("recv: two streams of one reactor talk to each other") {
    auto pair = co_await sluice::testing::make_pair();
    static constexpr std::size_t total = 8 << 20;
    const auto content = pattern(3).bytes(0, total);
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto sent = co_await pair.left.send_all(content);
            CHECK(sent.has_value());
            auto ended = co_await pair.left.shutdown();
            CHECK(ended.has_value());
            co_await check_stream(pair.left, 4, 1'000'000, mix::slices);
        });
        co_await check_stream(pair.right, 3, total, mix::slices);
        const auto answer = pattern(4).bytes(0, 1'000'000);
        auto sent = co_await pair.right.send_all(answer);
        CHECK(sent.has_value());
        auto ended = co_await pair.right.shutdown();
        CHECK(ended.has_value());
    });
    CHECK(outcome.has_value());
    const auto stats = sluice::net_stats_of(home);
    CHECK(stats.bytes_in == total + 1'000'000);
    CHECK(stats.bytes_out == total + 1'000'000);
    CHECK(stats.receives > 0);
}

TEST_SUITE_END();
