// SPDX-License-Identifier: Apache-2.0
// Cancelling a receive takes away the one who waits, never a byte.

#include <string>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::reactor_options;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::make_wire;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::run_net;
using sluice::testing::wire;

namespace {

//! Receives text, whatever ends it.
task<boost::system::error_code> receive(tcp_stream& stream, std::string& to) {
    auto chunk = co_await stream.recv();
    if (!chunk) co_return chunk.error();
    to += chunk->text();
    co_return boost::system::error_code{};
}

}  // namespace

TEST_SUITE_BEGIN("loopback.recv");

SLUICE_NET_TEST("recv cancelled: in flight, the bytes wait for the next") {
    wire l = co_await make_wire();
    std::string got;
    boost::system::error_code seen;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> { seen = co_await receive(l.stream, got); });
        co_await sluice::testing::some_turns();
        scope.request_stop();
    });
    CHECK(outcome.has_value());
    CHECK(seen == boost::system::errc::operation_canceled);
    CHECK(l.peer.send("kept"));
    const bool there = co_await sluice::testing::until([&] { return l.stream.pending() == 4; });
    CHECK(there);
    const auto failed = co_await receive(l.stream, got);
    CHECK_FALSE(failed);
    CHECK(got == "kept");
}

SLUICE_NET_TEST("recv cancelled: before it begins, with bytes there and without") {
    wire l = co_await make_wire();
    std::string got;
    for (const bool with_bytes : {false, true}) {
        if (with_bytes) {
            CHECK(l.peer.send("waiting"));
            const auto failed = co_await receive(l.stream, got);
            CHECK_FALSE(failed);
            CHECK(l.peer.send("again"));
            const bool there =
                co_await sluice::testing::until([&] { return l.stream.pending() == 5; });
            CHECK(there);
        }
        boost::system::error_code seen;
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.request_stop();
            scope.spawn([&]() -> task<> { seen = co_await receive(l.stream, got); });
            co_return;
        });
        CHECK(outcome.has_value());
        CHECK(seen == boost::system::errc::operation_canceled);
    }
    CHECK(got == "waiting");
    const auto failed = co_await receive(l.stream, got);
    CHECK_FALSE(failed);
    CHECK(got == "waitingagain");
}

SLUICE_NET_TEST("recv cancelled: a timeout loses nothing and costs no request") {
    wire l = co_await make_wire();
    auto first = co_await with_timeout(1ms, l.stream.recv());
    CHECK(first.error() == sluice::error::timeout);
    const auto requests = home.stats().sqes;
    for (int i = 0; i < 20; ++i) {
        auto none = co_await with_timeout(100us, l.stream.recv());
        REQUIRE(none.has_error());
        CHECK(none.error() == sluice::error::timeout);
    }
    CHECK(home.stats().sqes == requests);
    CHECK(l.peer.send("late"));
    auto chunk = co_await with_timeout(10s, l.stream.recv());
    REQUIRE(chunk.has_value());
    CHECK(chunk->text() == "late");
    CHECK(home.stats().live_timers == 0);
}

SLUICE_NET_TEST("recv cancelled: recv_into under a timeout of zero and less") {
    wire l = co_await make_wire();
    std::string space(10, '\0');
    for (const auto limit : {0ns, -1ns, -1'000'000'000ns}) {
        auto none = co_await with_timeout(
            limit, l.stream.recv_into(std::as_writable_bytes(std::span(space))));
        REQUIRE(none.has_error());
        CHECK(none.error() == sluice::error::timeout);
    }
    CHECK(l.peer.send("abc"));
    auto some = co_await l.stream.recv_into(std::as_writable_bytes(std::span(space)));
    REQUIRE(some.has_value());
    CHECK(space.substr(0, *some) == "abc");
}

TEST_CASE("recv cancelled: racing completion, not a byte is lost or doubled") {
    static constexpr std::uint64_t total = 400'000;
    for (const std::uint32_t ready_turn : {1024U, 1U}) {
        reactor_options options;
        options.ready_turn = ready_turn;
        int cancelled = 0;
        run_net(
            [&]() -> task<> {
                wire l = co_await make_wire();
                peer_thread peer([&] {
                    const sluice::testing::pattern source(8);
                    for (std::uint64_t sent = 0; sent < total;) {
                        const auto piece = source.bytes(sent, 1 + sent % 400);
                        const auto part = std::span(piece).first(static_cast<std::size_t>(
                            std::min<std::uint64_t>(piece.size(), total - sent)));
                        if (!l.peer.send(part)) return;
                        sent += part.size();
                    }
                    l.peer.shutdown_write();
                });
                pattern_reader reader(8);
                bool ended = false;
                for (unsigned i = 0; !ended; ++i) {
                    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
                        scope.spawn([&]() -> task<> {
                            auto chunk = co_await l.stream.recv();
                            if (chunk)
                                reader.take(chunk->bytes());
                            else if (chunk.error() == sluice::error::eof)
                                ended = true;
                            else
                                ++cancelled;
                        });
                        for (unsigned n = 0; n < i % 4; ++n) co_await sluice::yield();
                        scope.request_stop();
                    }));
                }
                CHECK(reader.intact());
                CHECK(reader.taken() == total);
                co_await peer.finished();
            },
            options);
        CHECK(cancelled > 0);
    }
}

TEST_CASE("recv cancelled: the stream is dropped by one task while another receives") {
    for (const std::uint32_t ready_turn : {1024U, 1U}) {
        reactor_options options;
        options.ready_turn = ready_turn;
        for (const bool with_bytes : {false, true}) {
            CAPTURE(ready_turn);
            CAPTURE(with_bytes);
            boost::system::error_code seen;
            bool got_bytes = false;
            run_net(
                [&]() -> task<> {
                    wire l = co_await make_wire();
                    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
                        scope.spawn([&]() -> task<> {
                            auto chunk = co_await l.stream.recv();
                            if (chunk)
                                got_bytes = true;
                            else
                                seen = chunk.error();
                        });
                        co_await sluice::testing::some_turns();
                        // Others are ready before the receiver, so that it resumes late.
                        for (int i = 0; i < 20; ++i)
                            scope.spawn([]() -> task<> {
                                for (int n = 0; n < 20; ++n) co_await sluice::yield();
                            });
                        if (with_bytes) CHECK(l.peer.send("x"));
                        for (int i = 0; i < 3; ++i) co_await sluice::yield();
                        l.stream = tcp_stream{};
                    }));
                },
                options);
            CHECK((got_bytes || seen == boost::system::errc::operation_canceled));
        }
    }
}

TEST_SUITE_END();
