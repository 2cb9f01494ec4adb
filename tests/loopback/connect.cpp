// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/plain_socket.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::connect_options;
using sluice::endpoint;
using sluice::nursery;
using sluice::reactor;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::bytes_of;
using sluice::testing::loopback;
using sluice::testing::plain_listener;
using sluice::testing::plain_socket;
using sluice::testing::run_net;
using sluice::testing::wire;

namespace {

//! A listening socket that answers nobody: its backlog is full.
struct full_listener {
    explicit full_listener(const endpoint& at) : listening(at, 0) {
        while (waiting.size() < 8 && fits()) {}
    }

    plain_listener listening;
    std::vector<plain_socket> waiting;

private:
    bool fits() {
        const endpoint& to = listening.local();
        const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        const int failed = ::connect(fd, to.data(), to.size());
        const int error = errno;
        waiting.emplace_back(fd);
        if (to.family() == AF_UNIX) return failed == 0 || error != EAGAIN;
        return waiting.size() < 4;  // one is taken; the others wait for an answer to their SYN
    }
};

//! Sends one byte each way.
task<> check_talks(tcp_stream& stream, plain_socket& peer) {
    const auto sent = co_await stream.send_all(bytes_of("a"));
    CHECK(sent.has_value());
    CHECK(peer.recv_text(1) == "a");
    CHECK(peer.send("b"));
    const auto received = co_await stream.recv();
    REQUIRE(received.has_value());
    CHECK(received->text() == "b");
}

}  // namespace

TEST_SUITE_BEGIN("loopback.connect");

SLUICE_NET_TEST("connect: IPv4, with both addresses and the kernel's information") {
    plain_listener listening(loopback());
    auto connected = co_await tcp_stream::connect(listening.local());
    REQUIRE(connected.has_value());
    tcp_stream stream = std::move(*connected);
    CHECK(static_cast<bool>(stream));
    plain_socket peer = listening.accept();
    co_await check_talks(stream, peer);
    CHECK(stream.peer().value() == listening.local());
    const endpoint local = stream.local().value();
    CHECK(local.family() == AF_INET);
    CHECK(local.port() != 0);
    const auto information = stream.information();
    REQUIRE(information.has_value());
    CHECK(information->congestion_window > 0);
    CHECK(information->segment_size > 0);
    CHECK(information->round_trip.count() > 0);
    CHECK(stream.native_handle() >= 0);
    CHECK(stream.pending() == 0);
    CHECK(sluice::net_stats_of(home).connected == 1);
    CHECK(sluice::net_stats_of(home).open == 1);
}

SLUICE_NET_TEST("connect: IPv6") {
    plain_listener listening(endpoint::of("::1", 0).value());
    auto connected = co_await tcp_stream::connect(listening.local());
    REQUIRE(connected.has_value());
    plain_socket peer = listening.accept();
    co_await check_talks(*connected, peer);
    CHECK(connected->peer().value() == listening.local());
}

SLUICE_NET_TEST("connect: Unix sockets, abstract and with a path") {
    const std::string path = "/tmp/sluice-test-" + std::to_string(::getpid()) + ".sock";
    ::unlink(path.c_str());
    for (const endpoint& at :
         {sluice::testing::unique_abstract(), endpoint::parse("unix:" + path).value()}) {
        plain_listener listening(at);
        auto connected = co_await tcp_stream::connect(at);
        REQUIRE(connected.has_value());
        plain_socket peer = listening.accept();
        co_await check_talks(*connected, peer);
        CHECK(connected->peer().value() == at);
        CHECK(connected->information().error() == boost::system::errc::operation_not_supported);
    }
    ::unlink(path.c_str());
    auto missing = co_await tcp_stream::connect(endpoint::parse("unix:" + path).value());
    REQUIRE(missing.has_error());
    CHECK(missing.error() == boost::system::errc::no_such_file_or_directory);
}

SLUICE_NET_TEST("connect: refused where nobody listens") {
    endpoint at;
    {
        const plain_listener gone(loopback());
        at = gone.local();
    }
    auto connected = co_await tcp_stream::connect(at);
    REQUIRE(connected.has_error());
    CHECK(connected.error() == boost::system::errc::connection_refused);
    CHECK(sluice::net_stats_of(home).connected == 0);
}

SLUICE_NET_TEST("connect: an address that can't be reached, a local one that isn't there") {
    auto nowhere = co_await tcp_stream::connect(endpoint::of("255.255.255.255", 80).value());
    CHECK(nowhere.has_error());
    plain_listener listening(loopback());
    connect_options options;
    options.bind_local = true;
    options.local = endpoint::of("192.0.2.1", 0).value();
    auto misbound = co_await tcp_stream::connect(listening.local(), options);
    REQUIRE(misbound.has_error());
    CHECK(misbound.error() == boost::system::errc::address_not_available);
}

SLUICE_NET_TEST("connect: bound to a local address") {
    plain_listener listening(loopback());
    connect_options options;
    options.bind_local = true;
    options.local = endpoint::of("127.9.8.7", 0).value();
    auto connected = co_await tcp_stream::connect(listening.local(), options);
    REQUIRE(connected.has_value());
    CHECK(connected->local()->to_string().starts_with("127.9.8.7:"));
}

SLUICE_NET_TEST("connect: TCP_NODELAY as asked, and options by their numbers") {
    plain_listener listening(loopback());
    for (const bool no_delay : {true, false}) {
        connect_options options;
        options.no_delay = no_delay;
        auto connected = co_await tcp_stream::connect(listening.local(), options);
        REQUIRE(connected.has_value());
        const auto set = connected->option(IPPROTO_TCP, TCP_NODELAY);
        REQUIRE(set.has_value());
        CHECK((*set != 0) == no_delay);
        CHECK(connected->set_option(SOL_SOCKET, SO_KEEPALIVE, 1).has_value());
        CHECK(connected->option(SOL_SOCKET, SO_KEEPALIVE).value() == 1);
        const auto unknown = connected->set_option(SOL_SOCKET, 9999, 1);
        REQUIRE(unknown.has_error());
        CHECK(unknown.error() == boost::system::errc::no_protocol_option);
        CHECK(connected->option(SOL_SOCKET, 9999).has_error());
    }
}

SLUICE_NET_TEST("connect: the timeout of the options, TCP and Unix") {
    for (const endpoint& at : {loopback(), sluice::testing::unique_abstract()}) {
        const full_listener full(at);
        connect_options options;
        options.timeout = 50ms;
        const auto began = home.now();
        auto connected = co_await tcp_stream::connect(full.listening.local(), options);
        const auto took = home.now() - began;
        REQUIRE(connected.has_error());
        CHECK(connected.error() == sluice::error::timeout);
        CHECK(took >= 50ms);
        CHECK(took < 5s);
    }
}

SLUICE_NET_TEST("connect: with_timeout around it") {
    const full_listener full(loopback());
    auto connecting = tcp_stream::connect(full.listening.local());
    auto connected = co_await with_timeout(20ms, std::move(connecting));
    REQUIRE(connected.has_error());
    CHECK(connected.error() == sluice::error::timeout);
    // One that answers is not in a hurry.
    plain_listener listening(loopback());
    auto quick = tcp_stream::connect(listening.local());
    auto made = co_await with_timeout(10s, std::move(quick));
    CHECK(made.has_value());
}

SLUICE_NET_TEST("connect: cancelled in flight, TCP and Unix") {
    for (const endpoint& at : {loopback(), sluice::testing::unique_abstract()}) {
        const full_listener full(at);
        boost::system::error_code seen;
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&]() -> task<> {
                auto connected = co_await tcp_stream::connect(full.listening.local());
                if (!connected) seen = connected.error();
            });
            static_cast<void>(co_await sluice::sleep_for(10ms));
            scope.request_stop();
        });
        CHECK(outcome.has_value());
        CHECK(seen == boost::system::errc::operation_canceled);
    }
}

SLUICE_NET_TEST("connect: cancelled before it begins") {
    plain_listener listening(loopback());
    boost::system::error_code seen;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.request_stop();
        scope.spawn([&]() -> task<> {
            auto connected = co_await tcp_stream::connect(listening.local());
            if (!connected) seen = connected.error();
        });
        co_return;
    });
    CHECK(outcome.has_value());
    CHECK(seen == boost::system::errc::operation_canceled);
    CHECK(sluice::net_stats_of(home).connected == 0);
}

SLUICE_NET_TEST("connect: cancelling races completion") {
    plain_listener listening(loopback(), 4096);
    int made = 0;
    int cancelled = 0;
    for (int round = 0; round < 200; ++round) {
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&]() -> task<> {
                auto connected = co_await tcp_stream::connect(listening.local());
                if (connected)
                    ++made;
                else if (connected.error() == boost::system::errc::operation_canceled)
                    ++cancelled;
            });
            for (int i = 0; i < round % 5; ++i) co_await sluice::yield();
            scope.request_stop();
        });
        CHECK(outcome.has_value());
    }
    CHECK(made + cancelled == 200);
}

TEST_CASE("connect: hundreds at once") {
    static constexpr int count = 300;
    plain_listener listening(loopback(), 1024);
    const auto outcome = run_net([&](reactor& home) -> task<> {
        int connected = 0;
        auto all = co_await with_nursery([&](nursery& scope) -> task<> {
            for (int i = 0; i < count; ++i)
                scope.spawn([&]() -> task<> {
                    auto made = co_await tcp_stream::connect(listening.local());
                    if (made) ++connected;
                    static_cast<void>(co_await sluice::sleep_for(5ms));
                });
            co_return;
        });
        CHECK(all.has_value());
        CHECK(connected == count);
        CHECK(sluice::net_stats_of(home).connected == count);
    });
    CHECK(outcome.net.closed == count);
}

TEST_SUITE_END();
