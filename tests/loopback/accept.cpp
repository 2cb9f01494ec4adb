// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::endpoint;
using sluice::listen_options;
using sluice::listener_group;
using sluice::nursery;
using sluice::reactor;
using sluice::task;
using sluice::tcp_listener;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::bytes_of;
using sluice::testing::loopback;
using sluice::testing::plain_socket;
using sluice::testing::run_net;

TEST_SUITE_BEGIN("loopback.connect");

SLUICE_NET_TEST("accept: IPv4, IPv6, both on one socket, and Unix") {
    struct family {
        endpoint listen;
        const char* connect;
        const char* peer_begins;
    };
    const std::vector<family> families{
        {loopback(), "127.0.0.1", "127.0.0.1:"},
        {endpoint::of("::1", 0).value(), "::1", "[::1]:"},
        {endpoint::of("::", 0).value(), "127.0.0.1", "[::ffff:127.0.0.1]:"},
        {sluice::testing::unique_abstract(), nullptr, "unix:"},
    };
    for (const family& f : families) {
        INFO("listening on ", f.listen.to_string());
        const listener_group group = listener_group::open(f.listen, 1).value();
        tcp_listener listener = tcp_listener::open(home, group, 0).value();
        const endpoint to = f.connect != nullptr
                                ? endpoint::of(f.connect, group.local().port()).value()
                                : group.local();
        plain_socket client = plain_socket::connect(to);
        CHECK(client.send("hello"));
        auto accepted = co_await listener.accept();
        REQUIRE(accepted.has_value());
        CHECK(listener.connections() == 1);
        CHECK(accepted->peer()->to_string().starts_with(f.peer_begins));
        auto received = co_await accepted->recv();
        REQUIRE(received.has_value());
        CHECK(received->text() == "hello");
        auto sent = co_await accepted->send_all(std::move(*received));
        CHECK(sent.has_value());
        CHECK(client.recv_text(5) == "hello");
        if (f.connect != nullptr) {
            CHECK(accepted->local()->port() == group.local().port());
            CHECK(accepted->option(IPPROTO_TCP, TCP_NODELAY).value() != 0);
        }
        co_await accepted->close();
        CHECK(listener.connections() == 0);
    }
}

SLUICE_NET_TEST("accept: ipv6_only keeps IPv4 out") {
    listen_options options;
    options.ipv6_only = true;
    const listener_group group =
        listener_group::open(endpoint::of("::", 0).value(), 1, options).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    auto refused = co_await tcp_stream::connect(loopback(group.local().port()));
    REQUIRE(refused.has_error());
    CHECK(refused.error() == boost::system::errc::connection_refused);
    auto made = co_await tcp_stream::connect(endpoint::of("::1", group.local().port()).value());
    CHECK(made.has_value());
    auto accepted = co_await listener.accept();
    CHECK(accepted.has_value());
}

SLUICE_NET_TEST("accept: the options of the group reach its connections") {
    listen_options options;
    options.no_delay = false;
    options.receive_buffer = 40'000;
    options.send_buffer = 50'000;
    const listener_group group = listener_group::open(loopback(), 1, options).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    const plain_socket client = plain_socket::connect(group.local());
    auto accepted = co_await listener.accept();
    REQUIRE(accepted.has_value());
    CHECK(accepted->option(IPPROTO_TCP, TCP_NODELAY).value() == 0);
    CHECK(accepted->option(SOL_SOCKET, SO_RCVBUF).value() == 80'000);  // socket(7): doubled
    CHECK(accepted->option(SOL_SOCKET, SO_SNDBUF).value() == 100'000);
}

SLUICE_NET_TEST("accept: cancelled, the connection waits for the next") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    auto nobody = co_await with_timeout(10ms, listener.accept());
    REQUIRE(nobody.has_error());
    CHECK(nobody.error() == sluice::error::timeout);
    const plain_socket client = plain_socket::connect(group.local());
    boost::system::error_code pre_cancelled;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.request_stop();
        scope.spawn([&]() -> task<> {
            auto accepted = co_await listener.accept();
            if (!accepted) pre_cancelled = accepted.error();
        });
        co_return;
    });
    CHECK(outcome.has_value());
    CHECK(pre_cancelled == boost::system::errc::operation_canceled);
    auto accepted = co_await listener.accept();
    CHECK(accepted.has_value());
    CHECK(sluice::net_stats_of(home).accepted == 1);
}

SLUICE_NET_TEST("accept: cancelling races a connection, none is lost") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    int accepted = 0;
    int cancelled = 0;
    static constexpr int rounds = 200;
    for (int round = 0; round < rounds; ++round) {
        const plain_socket client = plain_socket::connect(group.local());
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&]() -> task<> {
                auto one = co_await listener.accept();
                if (one)
                    ++accepted;
                else
                    ++cancelled;
            });
            for (int i = 0; i < round % 4; ++i) co_await sluice::yield();
            scope.request_stop();
        });
        CHECK(outcome.has_value());
    }
    CHECK(accepted + cancelled == rounds);
    while (accepted < rounds) {
        auto one = co_await with_timeout(10s, listener.accept());
        REQUIRE(one.has_value());
        ++accepted;
    }
    auto none = co_await with_timeout(10ms, listener.accept());
    CHECK(none.has_error());
}

SLUICE_NET_TEST("accept: two at once are a mistake") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    bool refused = false;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> { static_cast<void>(co_await listener.accept()); });
        co_await sluice::yield();
        co_await sluice::yield();
        try {
            static_cast<void>(co_await listener.accept());
        } catch (const std::logic_error&) {
            refused = true;
        }
        scope.request_stop();
    });
    CHECK(outcome.has_value());
    CHECK(refused);
}

SLUICE_NET_TEST("accept: a listener that is dropped ends the accept that waits on it") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    std::optional<tcp_listener> listener = tcp_listener::open(home, group, 0).value();
    boost::system::error_code seen;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto accepted = co_await with_timeout(2s, listener->accept());
            if (!accepted) seen = accepted.error();
        });
        co_await sluice::testing::some_turns();
        listener.reset();
    });
    CHECK(outcome.has_value());
    CHECK(seen == boost::system::errc::operation_canceled);
}

SLUICE_NET_TEST("accept: a listener dropped before its connections") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    std::vector<plain_socket> clients;
    std::vector<tcp_stream> streams;
    {
        tcp_listener listener = tcp_listener::open(home, group, 0).value();
        for (int i = 0; i < 3; ++i) clients.push_back(plain_socket::connect(group.local()));
        for (int i = 0; i < 2; ++i) {
            auto accepted = co_await listener.accept();
            REQUIRE(accepted.has_value());
            streams.push_back(std::move(*accepted));
        }
        co_await sluice::testing::until([&] { return sluice::net_stats_of(home).accepted == 3; });
    }
    // The third was accepted and never taken: its client sees an end.
    CHECK(clients[2].recv_all().empty());
    CHECK(errno == 0);
    for (std::size_t i = 0; i < 2; ++i) {
        auto sent = co_await streams[i].send_all(bytes_of("still here"));
        CHECK(sent.has_value());
        CHECK(clients[i].recv_text(10) == "still here");
    }
}

SLUICE_NET_TEST("accept: draining gives error::draining, to the one that waits and to later ones") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    const plain_socket early = plain_socket::connect(group.local());
    auto first = co_await listener.accept();
    REQUIRE(first.has_value());
    boost::system::error_code seen;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto accepted = co_await listener.accept();
            if (!accepted) seen = accepted.error();
        });
        co_await sluice::testing::some_turns();
        home.request_drain();
    });
    CHECK(outcome.has_value());
    CHECK(seen == sluice::error::draining);
    auto again = co_await listener.accept();
    REQUIRE(again.has_error());
    CHECK(again.error() == sluice::error::draining);
    tcp_listener late = tcp_listener::open(home, group, 0).value();
    auto never = co_await late.accept();
    REQUIRE(never.has_error());
    CHECK(never.error() == sluice::error::draining);
    // What was accepted before lives on.
    auto sent = co_await first->send_all(bytes_of("x"));
    CHECK(sent.has_value());
}

SLUICE_NET_TEST("accept: connections taken before the drain are handed out after it") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    const plain_socket one = plain_socket::connect(group.local());
    const plain_socket two = plain_socket::connect(group.local());
    const bool there =
        co_await sluice::testing::until([&] { return sluice::net_stats_of(home).accepted == 2; });
    REQUIRE(there);
    home.request_drain();
    for (int i = 0; i < 2; ++i) {
        auto accepted = co_await listener.accept();
        CHECK(accepted.has_value());
    }
    auto end = co_await listener.accept();
    CHECK(end.has_error());
}

SLUICE_NET_TEST("accept: what the kernel accepts while the drain begins is not thrown away") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    co_await sluice::testing::some_turns();  // it is armed
    plain_socket client = plain_socket::connect(group.local());
    home.request_drain();
    // Either it is handed out, or it waits for whoever listens there next.
    auto accepted = co_await listener.accept();
    if (accepted) {
        auto sent = co_await accepted->send_all(bytes_of("hello"));
        CHECK(sent.has_value());
        CHECK(client.recv_text(5) == "hello");
    } else {
        CHECK(accepted.error() == sluice::error::draining);
        CHECK(sluice::net_stats_of(home).accepted == 0);
    }
}

TEST_SUITE_END();
