// SPDX-License-Identifier: Apache-2.0
// The peer resets the connection, in every phase of its life.

#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::listener_group;
using sluice::nursery;
using sluice::task;
using sluice::tcp_listener;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::bytes_of;
using sluice::testing::loopback;
using sluice::testing::make_wire;
using sluice::testing::plain_socket;
using sluice::testing::run_net;
using sluice::testing::wire;

namespace {

bool is_reset(const boost::system::error_code& e) {
    return e == boost::system::errc::connection_reset || e == boost::system::errc::broken_pipe;
}

}  // namespace

TEST_SUITE_BEGIN("loopback.reset");

SLUICE_NET_TEST("reset: before the connection is taken from the listener") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    {
        plain_socket before_accept = plain_socket::connect(group.local());
        before_accept.reset();
    }
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    plain_socket after_accept = plain_socket::connect(group.local());
    const bool there =
        co_await sluice::testing::until([&] { return sluice::net_stats_of(home).accepted >= 1; });
    CHECK(there);
    after_accept.reset();
    // Linux hands out a connection that was reset while it waited; receiving tells.
    int reset = 0;
    for (;;) {
        auto accepted = co_await with_timeout(50ms, listener.accept());
        if (!accepted) {
            CHECK(accepted.error() == sluice::error::timeout);
            break;
        }
        auto chunk = co_await accepted->recv();
        REQUIRE(chunk.has_error());
        CHECK(chunk.error() == boost::system::errc::connection_reset);
        ++reset;
    }
    CHECK(reset >= 1);
    // The listener goes on.
    plain_socket third = plain_socket::connect(group.local());
    auto accepted = co_await listener.accept();
    REQUIRE(accepted.has_value());
    CHECK(third.send("ok"));
    auto chunk = co_await accepted->recv();
    REQUIRE(chunk.has_value());
    CHECK(chunk->text() == "ok");
}

SLUICE_NET_TEST("reset: of a connection on which nothing was done yet") {
    wire l = co_await make_wire();
    l.peer.reset();
    auto chunk = co_await l.stream.recv();
    REQUIRE(chunk.has_error());
    CHECK(chunk.error() == boost::system::errc::connection_reset);
    auto again = co_await l.stream.recv();
    CHECK(again.has_error());
    auto sent = co_await l.stream.send_all(bytes_of("x"));
    REQUIRE(sent.has_error());
    CHECK(is_reset(sent.error()));
}

SLUICE_NET_TEST("reset: while a receive waits") {
    wire l = co_await make_wire();
    boost::system::error_code seen;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto chunk = co_await l.stream.recv();
            if (!chunk) seen = chunk.error();
        });
        co_await sluice::testing::some_turns();
        l.peer.reset();
    });
    CHECK(outcome.has_value());
    CHECK(seen == boost::system::errc::connection_reset);
}

SLUICE_NET_TEST("reset: while the receive is armed and nobody waits") {
    wire l = co_await make_wire();
    auto none = co_await with_timeout(1ms, l.stream.recv());
    CHECK(none.has_error());
    l.peer.reset();
    co_await sluice::testing::some_turns();
    auto chunk = co_await l.stream.recv();
    REQUIRE(chunk.has_error());
    CHECK(chunk.error() == boost::system::errc::connection_reset);
}

SLUICE_NET_TEST("reset: bytes received before it are delivered first") {
    wire l = co_await make_wire();
    CHECK(l.peer.send("first"));
    auto start = co_await l.stream.recv();
    REQUIRE(start.has_value());
    CHECK(l.peer.send("second"));
    const bool there = co_await sluice::testing::until([&] { return l.stream.pending() == 6; });
    CHECK(there);
    l.peer.reset();
    co_await sluice::testing::some_turns();
    auto chunk = co_await l.stream.recv();
    REQUIRE(chunk.has_value());
    CHECK(chunk->text() == "second");
    auto end = co_await l.stream.recv();
    REQUIRE(end.has_error());
    CHECK(end.error() == boost::system::errc::connection_reset);
}

SLUICE_NET_TEST("reset: by a peer that closes with unread bytes") {
    wire l = co_await make_wire();
    auto sent = co_await l.stream.send_all(bytes_of("nobody reads this"));
    CHECK(sent.has_value());
    co_await sluice::testing::some_turns();
    l.peer.close();
    auto chunk = co_await l.stream.recv();
    REQUIRE(chunk.has_error());
    CHECK(chunk.error() == boost::system::errc::connection_reset);
}

SLUICE_NET_TEST("reset: during a send") {
    wire l = co_await make_wire(4096);
    const std::vector<std::byte> much(32 << 20);
    boost::system::error_code first;
    boost::system::error_code second;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto sent = co_await l.stream.send_all(much);
            if (!sent) first = sent.error();
        });
        scope.spawn([&]() -> task<> {
            auto sent = co_await l.stream.send_all(bytes_of("waits behind it"));
            if (!sent) second = sent.error();
        });
        co_await sluice::testing::some_turns();
        l.peer.reset();
    });
    CHECK(outcome.has_value());
    CHECK(is_reset(first));
    CHECK(is_reset(second));
    auto sent = co_await l.stream.send_all(bytes_of("x"));
    REQUIRE(sent.has_error());
    CHECK(is_reset(sent.error()));
}

SLUICE_NET_TEST("reset: during a send and a receive") {
    wire l = co_await make_wire(4096);
    const std::vector<std::byte> much(32 << 20);
    boost::system::error_code sending;
    boost::system::error_code receiving;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto sent = co_await l.stream.send_all(much);
            if (!sent) sending = sent.error();
        });
        scope.spawn([&]() -> task<> {
            auto chunk = co_await l.stream.recv();
            if (!chunk) receiving = chunk.error();
        });
        co_await sluice::testing::some_turns();
        l.peer.reset();
    });
    CHECK(outcome.has_value());
    CHECK(sending.failed());
    CHECK(receiving.failed());
    CHECK((is_reset(sending) || is_reset(receiving)));
}

SLUICE_NET_TEST("reset: before, during and after a shutdown") {
    {
        wire l = co_await make_wire();
        l.peer.reset();
        co_await sluice::testing::some_turns();
        auto ended = co_await l.stream.shutdown();  // whatever it says, it ends
        static_cast<void>(ended);
    }
    {
        wire l = co_await make_wire(4096);
        const std::vector<std::byte> much(16 << 20);
        boost::system::error_code sending;
        boost::system::error_code shutting;
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&]() -> task<> {
                auto sent = co_await l.stream.send_all(much);
                if (!sent) sending = sent.error();
            });
            scope.spawn([&]() -> task<> {
                auto ended = co_await l.stream.shutdown();
                if (!ended) shutting = ended.error();
            });
            co_await sluice::testing::some_turns();
            l.peer.reset();
        });
        CHECK(outcome.has_value());
        CHECK(is_reset(sending));
        CHECK(is_reset(shutting));
    }
    {
        wire l = co_await make_wire();
        auto ended = co_await l.stream.shutdown();
        CHECK(ended.has_value());
        CHECK(l.peer.recv_all().empty());
        l.peer.reset();
        auto chunk = co_await l.stream.recv();
        REQUIRE(chunk.has_error());
        CHECK(chunk.error() == boost::system::errc::connection_reset);
    }
}

SLUICE_NET_TEST("reset: before and during close and abort") {
    for (int i = 0; i < 50; ++i) {
        wire l = co_await make_wire();
        const auto answer = co_await l.stream.send_all(bytes_of("unread"));
        CHECK(answer.has_value());
        if (i % 2 == 0) {
            auto none = co_await with_timeout(0s, l.stream.recv());  // armed
            CHECK(none.has_error());
        }
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&]() -> task<> {
                if (i % 4 < 2)
                    co_await l.stream.close();
                else
                    l.stream.abort();
            });
            if (i % 3 != 0) co_await sluice::yield();
            l.peer.reset();
            co_return;
        });
        CHECK(outcome.has_value());
        CHECK_FALSE(static_cast<bool>(l.stream));
    }
}

TEST_SUITE_END();
