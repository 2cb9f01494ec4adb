// SPDX-License-Identifier: Apache-2.0
// A proxy service that is stopped under load.

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "loopback/echo_service.hpp"
#include "loopback/pattern.hpp"
#include "loopback/plain_socket.hpp"
#include "loopback/watchdog.hpp"
#include "sluice/copy_bidirectional.hpp"
#include "sluice/listener.hpp"
#include "sluice/net_stats.hpp"
#include "support/cores.hpp"

using namespace std::chrono_literals;
using sluice::copy_bidirectional;
using sluice::listener_group;
using sluice::reactor;
using sluice::service;
using sluice::service_options;
using sluice::task;
using sluice::tcp_listener;
using sluice::tcp_stream;
using sluice::testing::echo_service;
using sluice::testing::loopback;
using sluice::testing::pattern;
using sluice::testing::plain_socket;
using sluice::testing::watchdog;

namespace {

task<> forward(tcp_stream client, sluice::endpoint upstream) {
    auto server = co_await tcp_stream::connect(upstream);
    if (!server) co_return;
    static_cast<void>(co_await copy_bidirectional(client, *server));
}

//! Sends and reads echoes over new connections, again and again, until told that it is over. What
//! comes back is right as far as it goes.
void load(const sluice::endpoint& at, const std::atomic<bool>& over, std::atomic<int>& messages) {
    const auto message = pattern(1).bytes(0, 50'000);
    std::vector<std::byte> answer(message.size());
    while (!over) {
        try {
            plain_socket client = plain_socket::connect(at);
            while (!over && client.send(message) && client.recv_exact(answer)) {
                CHECK(answer == message);
                ++messages;
            }
        } catch (const std::system_error&) {
            std::this_thread::sleep_for(1ms);  // refused: it has stopped
        }
    }
}

}  // namespace

TEST_SUITE_BEGIN("loopback.copy");

TEST_CASE("copy: a service that is stopped under load leaves nothing behind") {
    const watchdog limit;
    for (int round = 0; round < 3; ++round) {
        echo_service upstream;
        auto group = std::make_unique<listener_group>(listener_group::open(loopback(), 2).value());
        service_options options = sluice::testing::cores(2);
        options.drain_timeout = 30ms;
        service proxy(options);
        const auto started = proxy.start([&](reactor& home) -> task<> {
            tcp_listener listener = tcp_listener::open(home, *group).value();
            const auto served = co_await sluice::serve(listener, [&](tcp_stream client) {
                return forward(std::move(client), upstream.local());
            });
            CHECK(served.has_value());
            CHECK(sluice::net_stats_of(home).buffers_lent == 0);
        });
        REQUIRE(started.has_value());
        const sluice::endpoint at = group->local();
        std::atomic<bool> over{false};
        std::atomic<int> messages{0};
        std::vector<std::thread> clients;
        for (int i = 0; i < 8; ++i) clients.emplace_back([&] { load(at, over, messages); });
        while (messages < 100) std::this_thread::sleep_for(1ms);
        proxy.request_stop();
        const auto report = proxy.wait();
        over = true;
        group.reset();  // with the connections that nobody has accepted
        for (auto& c : clients) c.join();
        INFO(report.to_string());
        CHECK(report.clean());
        CHECK(upstream.stop().clean());
    }
}

TEST_SUITE_END();
