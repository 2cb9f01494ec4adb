// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"
#include "sluice/buffer_chain.hpp"

using namespace std::chrono_literals;
using sluice::net_stats_of;
using sluice::nursery;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rx_buffer;
using sluice::task;
using sluice::with_nursery;
using sluice::testing::bytes_of;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::plain_socket;
using sluice::testing::run_net;
using sluice::testing::wire;

namespace {

//! Reads to the end of the stream, with a pause now and then; gives whether it is the pattern.
bool read_slowly(plain_socket& from, std::uint64_t seed, std::uint64_t total) {
    pattern_reader reader(seed);
    std::vector<std::byte> space(200'000);
    for (unsigned i = 0;; ++i) {
        const ssize_t n = from.recv(space);
        if (n <= 0) return n == 0 && reader.intact() && reader.taken() == total;
        reader.take(std::span(space).first(static_cast<std::size_t>(n)));
        if (i % 64 == 0) std::this_thread::sleep_for(1ms);
    }
}

}  // namespace

TEST_SUITE_BEGIN("loopback.send");

SLUICE_NET_TEST("send: something of it, at least a byte, until all has gone") {
    wire w = co_await make_wire(4096);
    static constexpr std::size_t total = 8 << 20;
    const auto content = pattern(1).bytes(0, total);
    bool intact = false;
    peer_thread reader([&] { intact = read_slowly(w.peer, 1, total); });
    std::size_t sent = 0;
    int partial = 0;
    while (sent < total) {
        auto n = co_await w.stream.send(std::span(content).subspan(sent));
        REQUIRE(n.has_value());
        REQUIRE(*n >= 1);
        sent += *n;
        if (sent < total) ++partial;
    }
    CHECK(sent == total);
    CHECK(partial > 0);
    auto ended = co_await w.stream.shutdown();
    CHECK(ended.has_value());
    co_await reader.finished();
    CHECK(intact);
}

SLUICE_NET_TEST("send_all: 64 MiB to a slow reader") {
    wire w = co_await make_wire();
    static constexpr std::size_t total = 64 << 20;
    const auto content = pattern(2).bytes(0, total);
    bool intact = false;
    peer_thread reader([&] { intact = read_slowly(w.peer, 2, total); });
    auto sent = co_await w.stream.send_all(content);
    REQUIRE(sent.has_value());
    CHECK(*sent == total);
    auto ended = co_await w.stream.shutdown();
    CHECK(ended.has_value());
    co_await reader.finished();
    CHECK(intact);
    CHECK(net_stats_of(home).bytes_out == total);
}

SLUICE_NET_TEST("send_all: pieces, hundreds, empty ones among them") {
    for (const std::size_t count : {1U, 2U, 63U, 64U, 65U, 500U}) {
        CAPTURE(count);
        wire w = co_await make_wire();
        const auto content = pattern(3).bytes(0, count * 1000);
        std::vector<std::span<const std::byte>> pieces;
        std::size_t total = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t size = i % 7 == 3 ? 0 : (i * 37) % 1000;
            pieces.push_back(std::span(content).subspan(total, size));
            total += size;
        }
        bool intact = false;
        peer_thread reader([&] { intact = read_slowly(w.peer, 3, total); });
        auto sent = co_await w.stream.send_all(pieces);
        REQUIRE(sent.has_value());
        CHECK(*sent == total);
        auto ended = co_await w.stream.shutdown();
        CHECK(ended.has_value());
        co_await reader.finished();
        CHECK(intact);
    }
}

SLUICE_NET_TEST("send_all: pieces that the peer takes in small bites") {
    wire w = co_await make_wire(4096);
    static constexpr std::size_t count = 300;
    static constexpr std::size_t size = 20'000;
    const auto content = pattern(4).bytes(0, count * size);
    std::vector<std::span<const std::byte>> pieces;
    for (std::size_t i = 0; i < count; ++i)
        pieces.push_back(std::span(content).subspan(i * size, size));
    bool intact = false;
    peer_thread reader([&] { intact = read_slowly(w.peer, 4, count * size); });
    auto sent = co_await w.stream.send_all(pieces);
    CHECK(sent.has_value());
    auto ended = co_await w.stream.shutdown();
    CHECK(ended.has_value());
    co_await reader.finished();
    CHECK(intact);
}

SLUICE_NET_TEST("send_all: nothing is sent at once and says 0") {
    wire w = co_await make_wire();
    auto none = co_await w.stream.send_all(std::span<const std::byte>{});
    REQUIRE(none.has_value());
    CHECK(*none == 0);
    auto no_buffer = co_await w.stream.send_all(rx_buffer{});
    CHECK(no_buffer.value() == 0);
    auto no_chain = co_await w.stream.send_all(sluice::buffer_chain{});
    CHECK(no_chain.value() == 0);
    const std::vector<std::span<const std::byte>> empty_pieces(5);
    auto no_pieces = co_await w.stream.send_all(empty_pieces);
    CHECK(no_pieces.value() == 0);
    CHECK(net_stats_of(home).sends == 0);
    auto some = co_await w.stream.send_all(bytes_of("x"));
    CHECK(some.has_value());
    CHECK(w.peer.recv_text(1) == "x");
}

SLUICE_NET_TEST("send_all: received buffers go out again, and back to the kernel") {
    auto in = co_await make_wire();
    auto out = co_await make_wire();
    static constexpr std::size_t total = 4 << 20;
    peer_thread sender([&] {
        CHECK(in.peer.send(pattern(5).bytes(0, total)));
        in.peer.shutdown_write();
    });
    bool intact = false;
    peer_thread reader([&] { intact = read_slowly(out.peer, 5, total); });
    for (;;) {
        auto chunk = co_await in.stream.recv();
        if (!chunk) break;
        auto sent = co_await out.stream.send_all(std::move(*chunk));
        REQUIRE(sent.has_value());
    }
    auto ended = co_await out.stream.shutdown();
    CHECK(ended.has_value());
    co_await sender.finished();
    co_await reader.finished();
    CHECK(intact);
}

TEST_CASE("send_all: concurrent calls are served in order and whole") {
    static constexpr std::uint32_t calls = 400;
    const auto outcome = run_net([](reactor&) -> task<> {
        wire w = co_await make_wire(16'384);
        // Frames of a header with the call's number and size, then that many of the pattern.
        bool whole = true;
        peer_thread reader([&] {
            for (std::uint32_t expected = 0; expected < calls; ++expected) {
                std::uint32_t header[2] = {};
                std::vector<std::byte> body;
                if (!w.peer.recv_exact(std::as_writable_bytes(std::span(header)))) whole = false;
                if (header[0] != expected || header[1] > 200'000) whole = false;
                if (!whole) return;
                body.resize(header[1]);
                if (!w.peer.recv_exact(body) || !pattern(expected).matches(0, body)) whole = false;
            }
        });
        std::vector<std::uint32_t> ended;
        auto all = co_await with_nursery([&](nursery& scope) -> task<> {
            for (std::uint32_t i = 0; i < calls; ++i)
                scope.spawn([&, i]() -> task<> {
                    const std::uint32_t size = i % 50 == 0 ? 150'000 : (i * 131) % 5000;
                    std::vector<std::byte> frame(8 + size);
                    std::memcpy(frame.data(), &i, 4);
                    std::memcpy(frame.data() + 4, &size, 4);
                    pattern(i).fill(0, std::span(frame).subspan(8));
                    auto sent = co_await w.stream.send_all(frame);
                    REQUIRE(sent.has_value());
                    CHECK(*sent == frame.size());
                    ended.push_back(i);
                });
            co_return;
        });
        CHECK(all.has_value());
        CHECK(ended.size() == calls);
        CHECK(std::is_sorted(ended.begin(), ended.end()));
        co_await reader.finished();
        CHECK(whole);
    });
    CHECK(outcome.net.sends_joined > 0);
    CHECK(outcome.net.sends < calls);
}

SLUICE_NET_TEST("send_all: calls of one turn go out together, and that is counted") {
    wire w = co_await make_wire();
    auto all = co_await with_nursery([&](nursery& scope) -> task<> {
        for (int i = 0; i < 10; ++i)
            scope.spawn([&w]() -> task<> {
                auto sent = co_await w.stream.send_all(bytes_of("0123456789"));
                CHECK(sent.has_value());
            });
        co_return;
    });
    CHECK(all.has_value());
    CHECK(w.peer.recv_text(100).size() == 100);
    CHECK(net_stats_of(home).sends == 1);
    CHECK(net_stats_of(home).sends_joined == 9);
}

SLUICE_NET_TEST("send: mixed with send_all and shutdown, in order") {
    wire w = co_await make_wire();
    std::string order;
    auto all = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto sent = co_await w.stream.send_all(bytes_of("first "));
            CHECK(sent.has_value());
            order += '1';
        });
        scope.spawn([&]() -> task<> {
            auto sent = co_await w.stream.send(bytes_of("second "));
            CHECK(sent.value() == 7);
            order += '2';
        });
        scope.spawn([&]() -> task<> {
            auto sent = co_await w.stream.send_all(bytes_of("third"));
            CHECK(sent.has_value());
            order += '3';
        });
        scope.spawn([&]() -> task<> {
            auto ended = co_await w.stream.shutdown();
            CHECK(ended.has_value());
            order += '4';
        });
        scope.spawn([&]() -> task<> {
            auto late = co_await w.stream.send_all(bytes_of("too late"));
            REQUIRE(late.has_error());
            CHECK(late.error() == boost::system::errc::broken_pipe);
            order += '5';
        });
        co_return;
    });
    CHECK(all.has_value());
    CHECK(w.peer.recv_all() == "first second third");
    CHECK(order == "12345");
    auto again = co_await w.stream.shutdown();
    REQUIRE(again.has_error());
    CHECK(again.error() == boost::system::errc::broken_pipe);
    auto empty = co_await w.stream.send(bytes_of("x"));
    CHECK(empty.error() == boost::system::errc::broken_pipe);
    // The other direction still works.
    CHECK(w.peer.send("answer"));
    auto chunk = co_await w.stream.recv();
    CHECK(chunk.value().text() == "answer");
}

SLUICE_NET_TEST("shutdown: waits for queued bytes that the peer is slow to take") {
    wire w = co_await make_wire(4096);
    static constexpr std::size_t total = 16 << 20;
    const auto content = pattern(6).bytes(0, total);
    bool intact = false;
    auto all = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto sent = co_await w.stream.send_all(content);
            CHECK(sent.has_value());
        });
        scope.spawn([&]() -> task<> {
            auto ended = co_await w.stream.shutdown();
            CHECK(ended.has_value());
        });
        co_await sluice::testing::some_turns();
        peer_thread reader([&] { intact = read_slowly(w.peer, 6, total); });
        co_await reader.finished();
    });
    CHECK(all.has_value());
    CHECK(intact);
}

SLUICE_NET_TEST("send: EPIPE or ECONNRESET when the peer has gone, for this call and all later") {
    wire w = co_await make_wire();
    w.peer.close();
    boost::system::error_code seen;
    for (int i = 0; i < 1000 && !seen; ++i) {
        auto sent = co_await w.stream.send_all(bytes_of("anybody there?"));
        if (!sent) seen = sent.error();
        static_cast<void>(co_await sluice::sleep_for(100us));
    }
    CHECK((seen == boost::system::errc::broken_pipe ||
           seen == boost::system::errc::connection_reset));
    auto again = co_await w.stream.send(bytes_of("no"));
    CHECK(again.has_error());
}

TEST_CASE("send: no more calls wait than max_pending_sends") {
    reactor_options options;
    options.max_pending_sends = 8;
    const auto outcome = run_net(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire(4096);
            const std::vector<std::byte> much(8 << 20);
            int sent = 0;
            int refused = 0;
            bool drained = false;
            auto all = co_await with_nursery([&](nursery& scope) -> task<> {
                for (int i = 0; i < 20; ++i)
                    scope.spawn([&, i]() -> task<> {
                        const auto content =
                            i == 0 ? std::span<const std::byte>(much) : bytes_of("x");
                        auto done = co_await w.stream.send_all(content);
                        if (done)
                            ++sent;
                        else if (done.error() == boost::system::errc::no_buffer_space)
                            ++refused;
                    });
                co_await sluice::testing::some_turns();
                CHECK(refused == 12);
                peer_thread reader(
                    [&] { drained = w.peer.recv_text(much.size() + 7).size() == much.size() + 7; });
                co_await reader.finished();
            });
            CHECK(all.has_value());
            CHECK(drained);
            CHECK(sent == 8);
            CHECK(net_stats_of(home).send_limit_hit == 12);
            // Room again.
            auto again = co_await w.stream.send_all(bytes_of("y"));
            CHECK(again.has_value());
        },
        options);
    CHECK(outcome.net.send_limit_hit == 12);
}

TEST_SUITE_END();
