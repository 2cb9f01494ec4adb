// SPDX-License-Identifier: Apache-2.0
// The ways in which a connection ends.

#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::listener_group;
using sluice::net_stats_of;
using sluice::nursery;
using sluice::reactor;
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
using sluice::testing::until;
using sluice::testing::wire;

TEST_SUITE_BEGIN("loopback.close");

SLUICE_NET_TEST("close: has ended when it returns, and sent bytes still arrive") {
    wire w = co_await make_wire();
    auto sent = co_await w.stream.send_all(bytes_of("goodbye"));
    CHECK(sent.has_value());
    auto armed = co_await with_timeout(1ms, w.stream.recv());
    CHECK(armed.has_error());
    CHECK(net_stats_of(home).open == 1);
    co_await w.stream.close();
    CHECK(net_stats_of(home).open == 0);
    CHECK(net_stats_of(home).closed == 1);
    CHECK(home.stats().live_operations == 0);
    CHECK_FALSE(static_cast<bool>(w.stream));
    CHECK(w.peer.recv_all() == "goodbye");
    CHECK(errno == 0);
    co_await w.stream.close();  // of an empty handle: at once
}

SLUICE_NET_TEST("close: is not shortened by a stop") {
    wire w = co_await make_wire();
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.request_stop();
        scope.spawn([&]() -> task<> {
            co_await w.stream.close();
            CHECK(net_stats_of(home).open == 0);
        });
        co_return;
    });
    CHECK(outcome.has_value());
    CHECK(w.peer.recv_all().empty());
}

SLUICE_NET_TEST("close: what it returns may be dropped unawaited") {
    wire w = co_await make_wire();
    {
        auto dropped = w.stream.close();
        CHECK_FALSE(static_cast<bool>(w.stream));
        auto moved = std::move(dropped);
    }
    const bool gone = co_await until([&] { return net_stats_of(home).open == 0; });
    CHECK(gone);
    CHECK(w.peer.recv_all().empty());
}

SLUICE_NET_TEST("drop: closes in the background") {
    std::vector<plain_socket> peers;
    for (int i = 0; i < 20; ++i) {
        wire w = co_await make_wire();
        auto sent = co_await w.stream.send_all(bytes_of("last words"));
        CHECK(sent.has_value());
        if (i % 2 == 0) {
            auto armed = co_await with_timeout(0s, w.stream.recv());
            CHECK(armed.has_error());
        }
        peers.push_back(std::move(w.peer));
    }
    const bool gone = co_await until([&] { return net_stats_of(home).open == 0; });
    CHECK(gone);
    for (plain_socket& p : peers) CHECK(p.recv_all() == "last words");
}

SLUICE_NET_TEST("drop: by assignment, which takes over the other connection") {
    wire one = co_await make_wire();
    wire two = co_await make_wire();
    one.stream = std::move(two.stream);
    const bool gone = co_await until([&] { return net_stats_of(home).open == 1; });
    CHECK(gone);
    CHECK(one.peer.recv_all().empty());
    tcp_stream& self = one.stream;
    one.stream = std::move(self);
    auto sent = co_await one.stream.send_all(bytes_of("x"));
    CHECK(sent.has_value());
    CHECK(two.peer.recv_text(1) == "x");
}

SLUICE_NET_TEST("abort: the peer gets ECONNRESET") {
    for (const bool with_operations : {false, true}) {
        wire w = co_await make_wire(4096);
        boost::system::error_code sending;
        boost::system::error_code receiving;
        const std::vector<std::byte> much(16 << 20);
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            if (with_operations) {
                scope.spawn([&]() -> task<> {
                    auto sent = co_await w.stream.send_all(much);
                    if (!sent) sending = sent.error();
                });
                scope.spawn([&]() -> task<> {
                    auto chunk = co_await w.stream.recv();
                    if (!chunk) receiving = chunk.error();
                });
                co_await sluice::testing::some_turns();
            }
            w.stream.abort();
            CHECK_FALSE(static_cast<bool>(w.stream));
            w.stream.abort();  // of an empty handle: nothing
        });
        CHECK(outcome.has_value());
        const bool gone = co_await until([&] { return net_stats_of(home).open == 0; });
        CHECK(gone);
        w.peer.recv_all();
        CHECK(errno == ECONNRESET);
        if (with_operations) {
            CHECK(sending == boost::system::errc::operation_canceled);
            CHECK(receiving == boost::system::errc::operation_canceled);
        }
    }
}

SLUICE_NET_TEST("close: while a receive waits, which ends with ECANCELED") {
    wire w = co_await make_wire();
    boost::system::error_code seen;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto chunk = co_await w.stream.recv();
            if (!chunk) seen = chunk.error();
        });
        co_await sluice::testing::some_turns();
        co_await w.stream.close();
    });
    CHECK(outcome.has_value());
    CHECK(seen == boost::system::errc::operation_canceled);
}

SLUICE_NET_TEST("drop: on a foreign thread, while the reactor sleeps") {
    wire w = co_await make_wire();
    auto armed = co_await with_timeout(1ms, w.stream.recv());
    CHECK(armed.has_error());
    std::vector<tcp_stream> handles;
    handles.push_back(std::move(w.stream));
    std::string seen = "nothing";
    sluice::testing::peer_thread dropper([&] {
        handles.clear();
        seen = w.peer.recv_all();
    });
    co_await dropper.finished();
    CHECK(seen.empty());
    CHECK(net_stats_of(home).open == 0);
}

TEST_CASE("drop: on a foreign thread, with nothing else that would wake the reactor") {
    const sluice::testing::watchdog limit;
    run_net([](reactor& home) -> task<> {
        wire w = co_await make_wire();
        wire other = co_await make_wire();
        std::thread dropper([stream = std::move(w.stream), &w, &other]() mutable {
            std::this_thread::sleep_for(20ms);
            { const tcp_stream gone = std::move(stream); }
            const bool ended = w.peer.recv_all().empty();  // waits for the close
            CHECK(other.peer.send(ended ? "closed" : "no"));
        });
        auto chunk = co_await other.stream.recv();
        REQUIRE(chunk.has_value());
        CHECK(chunk->text() == "closed");
        dropper.join();
        CHECK(net_stats_of(home).open == 1);
    });
}

TEST_CASE("drop: on a foreign thread after the reactor's last turn") {
    const sluice::testing::watchdog limit;
    plain_socket peer;
    {
        const auto home = sluice::testing::make_reactor();
        std::vector<tcp_stream> handles;
        home->spawn([&]() -> task<> {
            wire w = co_await make_wire();
            handles.push_back(std::move(w.stream));
            peer = std::move(w.peer);
        });
        home->run_until_idle();
        std::thread([&] { handles.clear(); }).join();
    }
    CHECK(peer.recv_all().empty());
}

TEST_CASE("drop: after the reactor has gone, here and on another thread") {
    const sluice::testing::watchdog limit;
    for (const bool armed : {false, true}) {
        for (const bool elsewhere : {false, true}) {
            std::vector<tcp_stream> handles;
            std::vector<plain_socket> peers;
            {
                const auto home = sluice::testing::make_reactor();
                home->spawn([&]() -> task<> {
                    for (int i = 0; i < 3; ++i) {
                        auto making = i == 2 ? sluice::testing::make_accepted_wire() : make_wire();
                        wire w = co_await std::move(making);
                        handles.push_back(std::move(w.stream));
                        peers.push_back(std::move(w.peer));
                        if (!armed) continue;
                        auto none = co_await with_timeout(1ms, handles.back().recv());
                        CHECK(none.has_error());
                        CHECK(peers.back().send("never taken"));
                    }
                    // A receive that is armed would keep the reactor running.
                    if (armed) home->abandon();
                });
                home->run_until_idle();
            }
            REQUIRE(handles.size() == 3);
            // The descriptors went with the reactor.
            for (plain_socket& p : peers) p.recv_all();
            if (elsewhere)
                std::thread([&] { handles.clear(); }).join();
            else
                handles.clear();
        }
    }
}

TEST_CASE("drop: an accepted connection outlives its listener and its reactor") {
    std::vector<tcp_stream> handles;
    plain_socket client;
    {
        const auto home = sluice::testing::make_reactor();
        const listener_group group = listener_group::open(loopback(), 1).value();
        home->spawn([&]() -> task<> {
            tcp_listener listener = tcp_listener::open(*home, group, 0).value();
            client = plain_socket::connect(group.local());
            auto accepted = co_await listener.accept();
            handles.push_back(std::move(accepted).value());
        });
        home->run_until_idle();
    }
    CHECK(client.recv_all().empty());
    handles.clear();
}

TEST_SUITE_END();
