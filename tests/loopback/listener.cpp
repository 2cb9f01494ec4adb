// SPDX-License-Identifier: Apache-2.0
#include "sluice/listener.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/wire.hpp"
#include "sluice/service.hpp"

using namespace std::chrono_literals;
using sluice::endpoint;
using sluice::listen_options;
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
using sluice::testing::peer_thread;
using sluice::testing::plain_listener;
using sluice::testing::plain_socket;
using sluice::testing::run_net;
using sluice::testing::until;

TEST_SUITE_BEGIN("loopback.listener");

TEST_CASE("listener: a group of two reactors, both accept") {
    const sluice::testing::watchdog limit;
    const listener_group group = listener_group::open(loopback(), 2).value();
    CHECK(group.count() == 2);
    CHECK(group.local().port() != 0);
    std::atomic<int> served[2] = {};
    sluice::service_options options;
    options.cpus = {0, 1};
    options.pin = false;
    sluice::service service(options);
    const auto started = service.start([&](reactor& home) -> task<> {
        tcp_listener listener = tcp_listener::open(home, group).value();
        auto handler = [&served, index = home.index()](tcp_stream stream) -> task<> {
            auto chunk = co_await stream.recv();
            if (!chunk) co_return;
            ++served[index];
            static_cast<void>(co_await stream.send_all(std::move(*chunk)));
        };
        auto ended = co_await sluice::serve(listener, handler);
        CHECK(ended.has_value());
    });
    REQUIRE(started.has_value());
    for (int i = 0; i < 100; ++i) {
        plain_socket client = plain_socket::connect(group.local());
        CHECK(client.send("ping"));
        CHECK(client.recv_text(4) == "ping");
    }
    service.request_stop();
    const auto report = service.wait();
    CHECK(report.clean());
    CHECK(served[0].load() + served[1].load() == 100);
    CHECK(served[0].load() > 0);
    CHECK(served[1].load() > 0);
}

TEST_CASE("listener: a port that is about to be free is waited for") {
    std::optional<plain_listener> before(std::in_place, loopback());
    const endpoint at = before->local();
    std::thread ends([&] {
        std::this_thread::sleep_for(100ms);
        before.reset();
    });
    listen_options patient;
    patient.bind_wait = 20s;
    CHECK(listener_group::open(at, 1, patient).has_value());
    ends.join();
    const plain_listener stays(loopback());
    patient.bind_wait = 0s;
    CHECK(listener_group::open(stays.local(), 1, patient).error().value() == EADDRINUSE);
}

TEST_CASE("listener: a port in use is EADDRINUSE, whoever uses it, unless it is shared") {
    {
        const plain_listener other(loopback());
        const auto group = listener_group::open(other.local(), 1);
        REQUIRE(group.has_error());
        CHECK(group.error() == boost::system::errc::address_in_use);
        const std::string text = sluice::explain_listen_error(group.error(), other.local());
        CHECK(text.find(other.local().to_string()) != std::string::npos);
        CHECK(text.find("in use") != std::string::npos);
    }
    const listener_group first = listener_group::open(loopback(), 2).value();
    const auto second = listener_group::open(first.local(), 1);
    REQUIRE(second.has_error());
    CHECK(second.error() == boost::system::errc::address_in_use);
    listen_options share;
    share.share_port = true;
    const auto third = listener_group::open(first.local(), 1, share);
    REQUIRE(third.has_value());
    CHECK(third->local() == first.local());
}

TEST_CASE("listener: a port whose last connections are in TIME_WAIT is free") {
    endpoint at;
    {
        plain_listener old(loopback());
        at = old.local();
        plain_socket client = plain_socket::connect(at);
        plain_socket server = old.accept();
        server.close();  // the server first: its port stays in TIME_WAIT
        CHECK(client.recv_all().empty());
    }
    CHECK(listener_group::open(at, 1).has_value());
}

TEST_CASE("listener: what can't be opened says why") {
    const auto elsewhere = listener_group::open(endpoint::of("192.0.2.1", 0).value(), 1);
    REQUIRE(elsewhere.has_error());
    CHECK(elsewhere.error() == boost::system::errc::address_not_available);
    CHECK(sluice::explain_listen_error(elsewhere.error(), loopback()).find("address") !=
          std::string::npos);
    CHECK(listener_group::open(loopback(), 0).has_error());
    CHECK(listener_group::open(sluice::testing::unique_abstract(), 2).has_error());
    const auto no_folder =
        listener_group::open(endpoint::parse("unix:/no/such/folder/x").value(), 1);
    CHECK(no_folder.has_error());
}

TEST_CASE("listener: released and adopted, without losing a connection") {
    std::vector<int> descriptors;
    endpoint at;
    {
        listener_group group = listener_group::open(loopback(), 2).value();
        at = group.local();
        descriptors = group.release();
        CHECK(group.count() == 0);
    }
    REQUIRE(descriptors.size() == 2);
    // Connects while nobody is responsible: waits in the backlog.
    plain_socket client = plain_socket::connect(at);
    CHECK(client.send("early"));
    run_net([&](reactor& home) -> task<> {
        auto adopted = listener_group::adopt(descriptors);
        REQUIRE(adopted.has_value());
        CHECK(adopted->count() == 2);
        CHECK(adopted->local() == at);
        tcp_listener one = tcp_listener::open(home, *adopted, 0).value();
        tcp_listener two = tcp_listener::open(home, *adopted, 1).value();
        tcp_stream stream;
        for (tcp_listener* each : {&one, &two}) {
            auto accepted = co_await with_timeout(50ms, each->accept());
            if (accepted) stream = std::move(*accepted);
        }
        REQUIRE(static_cast<bool>(stream));
        auto chunk = co_await stream.recv();
        CHECK(chunk.value().text() == "early");
    });
    CHECK(::fcntl(descriptors[0], F_GETFD) == -1);  // the group owned them
}

TEST_CASE("listener: a non-blocking socket that is adopted accepts, and waits without spinning") {
    plain_listener made(loopback());
    const endpoint at = made.local();
    const int fd = made.release();
    CHECK(::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
    run_net([&](reactor& home) -> task<> {
        const listener_group group = listener_group::adopt({fd}).value();
        tcp_listener listener = tcp_listener::open(home, group, 0).value();
        const auto before = home.stats().turns;
        auto nobody = co_await with_timeout(100ms, listener.accept());
        CHECK(nobody.has_error());
        CHECK(home.stats().turns - before < 50);
        const plain_socket client = plain_socket::connect(at);
        auto accepted = co_await with_timeout(5s, listener.accept());
        CHECK(accepted.has_value());
    });
}

TEST_CASE("listener: only listening stream sockets are adopted, and all are closed on failure") {
    CHECK(listener_group::adopt({}).has_error());
    const auto refuse = [](int fd) {
        REQUIRE(fd >= 0);
        const auto adopted = listener_group::adopt({fd});
        REQUIRE(adopted.has_error());
        CHECK(::fcntl(fd, F_GETFD) == -1);
    };
    refuse(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    refuse(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    refuse(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

TEST_CASE("listener: max_connections pauses, and goes on when one ends") {
    static constexpr std::size_t limit = 3;
    static constexpr std::size_t clients = 12;
    const auto outcome = run_net([](reactor& home) -> task<> {
        listen_options options;
        options.max_connections = limit;
        const listener_group group = listener_group::open(loopback(), 1, options).value();
        // All of them wait before the first accept.
        std::vector<plain_socket> all;
        for (std::size_t i = 0; i < clients; ++i) {
            all.push_back(plain_socket::connect(group.local()));
            CHECK(all.back().send("x"));
        }
        tcp_listener listener = tcp_listener::open(home, group, 0).value();
        std::vector<tcp_stream> open;
        std::size_t served = 0;
        while (served < clients) {
            auto accepted = co_await with_timeout(200ms, listener.accept());
            CHECK(listener.connections() <= limit);
            if (accepted) {
                auto chunk = co_await accepted->recv();
                CHECK(chunk.has_value());
                open.push_back(std::move(*accepted));
                ++served;
                continue;
            }
            CHECK(accepted.error() == sluice::error::timeout);
            REQUIRE(open.size() == limit);
            CHECK(listener.connections() == limit);
            co_await open.front().close();
            open.erase(open.begin());
        }
    });
    CHECK(outcome.net.accepted == clients);
    CHECK(outcome.net.accept_pauses > 0);
}

TEST_CASE("listener: max_pending_accepts bounds those that nobody takes") {
    const auto outcome = run_net([](reactor& home) -> task<> {
        listen_options options;
        options.max_pending_accepts = 2;
        const listener_group group = listener_group::open(loopback(), 1, options).value();
        tcp_listener listener = tcp_listener::open(home, group, 0).value();
        std::vector<plain_socket> all;
        for (int i = 0; i < 10; ++i) {
            all.push_back(plain_socket::connect(group.local()));
            co_await sluice::testing::some_turns();
        }
        CHECK(net_stats_of(home).accepted <= 3);
        for (int i = 0; i < 10; ++i) {
            auto accepted = co_await with_timeout(5s, listener.accept());
            CHECK(accepted.has_value());
        }
    });
    CHECK(outcome.net.accepted == 10);
    CHECK(outcome.net.accept_pauses > 0);
}

SLUICE_NET_TEST("serve: ends with the drain, when its handlers have ended") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    int ended = 0;
    plain_socket client = plain_socket::connect(group.local());
    bool serving = true;
    home.spawn([&]() -> task<> {
        auto outcome = co_await sluice::serve(listener, [&](tcp_stream stream) -> task<> {
            auto chunk = co_await stream.recv();
            CHECK(chunk.has_value());
            ++ended;
        });
        CHECK(outcome.has_value());
        serving = false;
    });
    const bool there = co_await until([&] { return listener.connections() == 1; });
    CHECK(there);
    home.request_drain();
    co_await sluice::testing::some_turns();
    CHECK(serving);
    CHECK(client.send("now"));
    const bool done = co_await until([&] { return !serving; });
    CHECK(done);
    CHECK(ended == 1);
}

SLUICE_NET_TEST("serve: a handler that throws or fails is counted, the others go on") {
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    home.spawn([&]() -> task<> {
        auto handler = [](tcp_stream stream) -> task<sluice::result<void>> {
            auto chunk = co_await stream.recv();
            if (!chunk) co_return chunk.error();
            if (chunk->text() == "throw") throw std::runtime_error("as asked");
            if (chunk->text() == "fail") co_return sluice::errno_error(EPROTO);
            auto sent = co_await stream.send_all(std::move(*chunk));
            CHECK(sent.has_value());
            co_return sluice::result<void>{};
        };
        static_cast<void>(co_await sluice::serve(listener, handler));
    });
    peer_thread clients([at = group.local()] {
        for (const char* text : {"throw", "fine", "fail", "good", "throw"}) {
            plain_socket client = plain_socket::connect(at);
            CHECK(client.send(text));
            const std::string answer = client.recv_all();
            CHECK(answer == (std::string(text).size() == 4 && text[1] != 'a' ? text : ""));
        }
    });
    co_await clients.finished();
    CHECK(home.stats().task_failures == 3);
    home.request_drain();
}

TEST_SUITE_END();
