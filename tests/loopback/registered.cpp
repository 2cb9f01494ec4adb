// SPDX-License-Identifier: Apache-2.0
// Sockets in the ring's own table: the same service, without what needs a descriptor.

#include <unistd.h>

#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/echo_service.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::connect_options;
using sluice::listener_group;
using sluice::net_stats_of;
using sluice::reactor;
using sluice::reactor_options;
using sluice::task;
using sluice::tcp_listener;
using sluice::tcp_stream;
using sluice::with_timeout;
using sluice::testing::bytes_of;
using sluice::testing::loopback;
using sluice::testing::pattern;
using sluice::testing::plain_listener;
using sluice::testing::plain_socket;
using sluice::testing::run_net;

namespace {

reactor_options registered() {
    reactor_options options;
    options.registered_descriptors = true;
    options.registered_descriptor_slots = 256;
    return options;
}

}  // namespace

TEST_SUITE_BEGIN("loopback.registered");

TEST_CASE("registered: connect, talk, shut down, close; no descriptor to be seen") {
    run_net(
        [](reactor& home) -> task<> {
            plain_listener listening(loopback());
            const int before = ::dup(0);
            ::close(before);
            auto connected = co_await tcp_stream::connect(listening.local());
            REQUIRE(connected.has_value());
            plain_socket peer = listening.accept();
            CHECK(peer.fd() == before);
            auto sent = co_await connected->send_all(bytes_of("over"));
            CHECK(sent.has_value());
            CHECK(peer.recv_text(4) == "over");
            CHECK(peer.send("and back"));
            auto chunk = co_await connected->recv();
            CHECK(chunk.value().text() == "and back");
            auto ended = co_await connected->shutdown();
            CHECK(ended.has_value());
            CHECK(peer.recv_all().empty());
            co_await connected->close();
            CHECK(net_stats_of(home).open == 0);
            auto timed_out = co_await tcp_stream::connect(listening.local());
            REQUIRE(timed_out.has_value());
            auto none = co_await with_timeout(1ms, timed_out->recv());
            CHECK(none.error() == sluice::error::timeout);
        },
        registered());
}

TEST_CASE("registered: what needs a descriptor is EOPNOTSUPP") {
    run_net(
        []() -> task<> {
            plain_listener listening(loopback());
            auto connected = co_await tcp_stream::connect(listening.local());
            REQUIRE(connected.has_value());
            const auto unsupported = boost::system::errc::operation_not_supported;
            CHECK(connected->peer().error() == unsupported);
            CHECK(connected->local().error() == unsupported);
            CHECK(connected->information().error() == unsupported);
            CHECK(connected->set_option(SOL_SOCKET, SO_KEEPALIVE, 1).error() == unsupported);
            CHECK(connected->option(SOL_SOCKET, SO_KEEPALIVE).error() == unsupported);
            CHECK(connected->native_handle() == -1);
            connect_options options;
            options.bind_local = true;
            auto bound = co_await tcp_stream::connect(listening.local(), options);
            REQUIRE(bound.has_error());
            CHECK(bound.error() == unsupported);
        },
        registered());
}

TEST_CASE("registered: refused and cancelled connects give their slots back") {
    run_net(
        []() -> task<> {
            sluice::endpoint nobody;
            {
                const plain_listener gone(loopback());
                nobody = gone.local();
            }
            // More often than there are slots.
            for (int i = 0; i < 600; ++i) {
                auto refused = co_await tcp_stream::connect(nobody);
                REQUIRE(refused.has_error());
                REQUIRE(refused.error() == boost::system::errc::connection_refused);
            }
        },
        registered());
}

TEST_CASE("registered: accepted connections come and go") {
    const auto outcome = run_net(
        [](reactor& home) -> task<> {
            const listener_group group = listener_group::open(loopback(), 1).value();
            tcp_listener listener = tcp_listener::open(home, group, 0).value();
            for (int i = 0; i < 600; ++i) {
                plain_socket client = plain_socket::connect(group.local());
                CHECK(client.send("x"));
                auto accepted = co_await listener.accept();
                REQUIRE(accepted.has_value());
                auto chunk = co_await accepted->recv();
                REQUIRE(chunk.has_value());
                if (i % 2 == 0) co_await accepted->close();
            }
        },
        registered());
    CHECK(outcome.net.accepted == 600);
    CHECK(outcome.net.closed == 600);
}

TEST_CASE("registered: connections that nobody took give their slots back") {
    run_net(
        [](reactor& home) -> task<> {
            const listener_group group = listener_group::open(loopback(), 1).value();
            for (int round = 0; round < 10; ++round) {
                std::vector<plain_socket> clients;
                {
                    tcp_listener listener = tcp_listener::open(home, group, 0).value();
                    const auto before = net_stats_of(home).accepted;
                    for (int i = 0; i < 50; ++i)
                        clients.push_back(plain_socket::connect(group.local()));
                    const bool all = co_await sluice::testing::until(
                        [&] { return net_stats_of(home).accepted == before + 50; });
                    REQUIRE(all);
                }
                co_await sluice::testing::some_turns();
                for (plain_socket& c : clients) CHECK(c.recv_all().empty());
            }
        },
        registered());
}

TEST_CASE("registered: an echo service") {
    const sluice::testing::watchdog limit;
    sluice::testing::echo_options options;
    options.service.reactor = registered();
    sluice::testing::echo_service echo(options);
    std::vector<plain_socket> clients;
    std::vector<std::byte> answer(10'000);
    for (int i = 0; i < 40; ++i) clients.push_back(plain_socket::connect(echo.local()));
    for (std::uint64_t n = 0; n < 20; ++n)
        for (plain_socket& c : clients) {
            CHECK(c.send(pattern(4).bytes(n * 10'000, 10'000)));
            CHECK(c.recv_exact(answer));
            CHECK(pattern(4).matches(n * 10'000, answer));
        }
    clients.clear();
    const auto report = echo.stop();
    INFO(report.to_string());
    CHECK(report.clean());
}

TEST_SUITE_END();
