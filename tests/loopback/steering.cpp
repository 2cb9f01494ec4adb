// SPDX-License-Identifier: Apache-2.0
// Steering of connections, on a veth pair with two queues between two network namespaces.

#include "sluice/steering.hpp"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "loopback/plain_socket.hpp"
#include "loopback/veth_pair.hpp"
#include "loopback/watchdog.hpp"
#include "sluice/cpu_set.hpp"
#include "sluice/listener.hpp"
#include "sluice/service.hpp"
#include "support/cores.hpp"
#include "support/skip.hpp"

#include <doctest/doctest.h>

using sluice::endpoint;
using sluice::listen_options;
using sluice::listener_group;
using sluice::reactor;
using sluice::service;
using sluice::steering;
using sluice::task;
using sluice::tcp_stream;
using sluice::testing::plain_socket;
using sluice::testing::veth_pair;
using sluice::testing::watchdog;

namespace {

constexpr int connections = 1000;

//! A pair whose client's CPU decides its transmit queue (XPS), and that is the receive queue at the
//! server.
bool spread_over_queues(const veth_pair& veth) {
    const std::string queues = "/sys/class/net/" + veth.client_link() + "/queues/tx-";
    return veth.client_shell("echo 1 > " + queues + "0/xps_cpus && echo 2 > " + queues +
                             "1/xps_cpus");
}

bool set_feature(const std::string& link, std::uint32_t command, std::uint32_t value) {
    ethtool_value feature{command, value};
    ifreq request{};
    std::strncpy(request.ifr_name, link.c_str(), IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&feature);
    const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
    const bool done = ::ioctl(fd, SIOCETHTOOL, &request) == 0;
    ::close(fd);
    return done;
}

//! Gives each receive queue a NAPI instance, whose id the sockets then know (SO_INCOMING_NAPI_ID):
//! veth has them while it joins packets, which it does for senders that don't cut them themselves.
bool enable_napi(const veth_pair& veth) {
    bool joins = false;
    bool cuts = false;
    veth.at_server([&] { joins = set_feature(veth.server_link(), ETHTOOL_SGRO, 1); });
    veth.at_client([&] { cuts = set_feature(veth.client_link(), ETHTOOL_STSO, 0); });
    return joins && cuts;
}

//! Pins the calling thread; what it sends goes by the queue of that number.
bool use_cpu(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return ::sched_setaffinity(0, sizeof set, &set) == 0;
}

//! What can't be had here, in words; empty if all can.
std::string missing() {
    if (auto why = sluice::testing::no_namespaces(); !why.empty()) return why;
    const auto cpus = sluice::usable_cpus();
    if (std::set<unsigned>(cpus.begin(), cpus.end()).count(0) == 0 ||
        std::set<unsigned>(cpus.begin(), cpus.end()).count(1) == 0)
        return "clients are spread over queues by CPUs 0 and 1, which are not both usable";
    return {};
}

//! Where connections went.
struct seen {
    std::array<std::array<int, 2>, 2> by_queue{};  // [the client's queue][reactor]
    std::array<std::map<int, int>, 2> napi{};      // of each reactor: NAPI ids, how often
};

//! Connects 1,000 times, alternating between the queues. The client says which one it used.
seen connect_all(const veth_pair& veth, const listen_options& options) {
    seen result;
    std::optional<listener_group> group;
    veth.at_server([&] {
        auto opened = listener_group::open(endpoint::parse("10.77.0.1:0").value(), 2, options);
        if (opened) group.emplace(std::move(*opened));
    });
    REQUIRE(group.has_value());
    std::mutex mutex;
    service s(sluice::testing::cores(2));
    const auto started = s.start([&](reactor& home) -> task<> {
        auto listener = sluice::tcp_listener::open(home, *group);
        REQUIRE(listener.has_value());
        auto served = co_await sluice::serve(*listener, [&](tcp_stream stream) -> task<> {
            auto chunk = co_await stream.recv();
            if (!chunk) co_return;
            auto napi = stream.option(SOL_SOCKET, SO_INCOMING_NAPI_ID);
            {
                const std::lock_guard lock(mutex);
                const auto queue = static_cast<std::size_t>(chunk->text()[0] - '0');
                const unsigned at = reactor::current()->index();
                ++result.by_queue[queue][at];
                if (napi && *napi != 0) ++result.napi[at][*napi];
            }
            static_cast<void>(co_await stream.send_all(std::move(*chunk)));
        });
        CHECK(served.has_value());
    });
    REQUIRE(started.has_value());
    veth.at_client([&] {
        for (int i = 0; i < connections; ++i) {
            const unsigned queue = static_cast<unsigned>(i) % 2;
            if (!use_cpu(queue)) break;
            auto client = plain_socket::connect(group->local());
            if (!client.send(queue == 0 ? "0" : "1")) break;
            if (client.recv_text(1).empty()) break;
        }
    });
    s.request_stop();
    CHECK(s.wait().clean());
    return result;
}

int on_their_queue(const seen& s) { return s.by_queue[0][0] + s.by_queue[1][1]; }
int all(const seen& s) { return on_their_queue(s) + s.by_queue[0][1] + s.by_queue[1][0]; }

}  // namespace

TEST_SUITE_BEGIN("loopback.steering");

TEST_CASE("steering: by queue each of 1,000 connections is accepted by its queue's reactor") {
    if (const auto why = missing(); !why.empty()) {
        sluice::testing::report_skip(why);
        return;
    }
    const watchdog limit;
    const veth_pair veth(2);
    if (!veth.good() || !spread_over_queues(veth)) {
        sluice::testing::report_skip("no veth pair with two queues can be made here");
        return;
    }
    const bool napi = enable_napi(veth);

    // What does this interface record?
    std::optional<std::uint32_t> offset;
    {
        std::optional<sluice::queue_calibration> experiment;
        veth.at_server([&] {
            auto opened =
                sluice::queue_calibration::open(endpoint::parse("10.77.0.1:0").value(), 2);
            if (opened) experiment.emplace(std::move(*opened));
        });
        REQUIRE(experiment.has_value());
        CHECK_FALSE(experiment->offset().has_value());
        veth.at_client([&] {
            for (unsigned i = 0; i < 20 && use_cpu(i % 2); ++i)
                static_cast<void>(plain_socket::connect(experiment->local()));
        });
        CHECK(experiment->observe() == 20);
        offset = experiment->offset();
        REQUIRE(offset.has_value());
        CHECK(experiment->seen()[0 + *offset] == 10);
        CHECK(experiment->seen()[1 + *offset] == 10);
        MESSAGE("the interface records queue + " << *offset);
    }

    listen_options options;
    const seen without = connect_all(veth, options);
    CHECK(all(without) == connections);
    CHECK(on_their_queue(without) < connections * 3 / 4);
    CHECK(on_their_queue(without) > connections / 4);

    options.steer.by = steering::queue;
    options.steer.queue_offset = *offset;
    const seen with = connect_all(veth, options);
    CHECK(all(with) == connections);
    CHECK(on_their_queue(with) == connections);
    MESSAGE("on the reactor of their queue: " << on_their_queue(without) << " without, "
                                              << on_their_queue(with) << " with steering");
    // The kernel's own word, where there is one: a NAPI instance for each reactor.
    if (napi && !with.napi[0].empty()) {
        REQUIRE(with.napi[0].size() == 1);
        REQUIRE(with.napi[1].size() == 1);
        CHECK(with.napi[0].begin()->second == connections / 2);
        CHECK(with.napi[1].begin()->second == connections / 2);
        CHECK(with.napi[0].begin()->first != with.napi[1].begin()->first);
        CHECK(without.napi[0].size() == 2);
        MESSAGE("SO_INCOMING_NAPI_ID agrees");
    } else {
        MESSAGE("SO_INCOMING_NAPI_ID is not to be had here");
    }

    // The same said by a list, the other way round.
    options.steer.values = {1, 0};
    const seen crossed = connect_all(veth, options);
    CHECK(all(crossed) == connections);
    CHECK(on_their_queue(crossed) == 0);

    // A wrong offset: the lowest queue counts as unknown, the next as the first.
    options.steer.values.clear();
    options.steer.queue_offset = 1 - *offset;
    const seen wrong = connect_all(veth, options);
    CHECK(all(wrong) == connections);
    CHECK(on_their_queue(wrong) < connections);
}

TEST_CASE("steering: by CPU") {
    const auto cpus = sluice::usable_cpus();
    if (cpus.size() < 2) {
        sluice::testing::report_skip("one CPU only");
        return;
    }
    const watchdog limit;
    listen_options options;
    options.steer.by = steering::cpu;
    options.steer.values = {cpus[0], cpus[1]};
    auto group = listener_group::open(endpoint::parse("127.0.0.1:0").value(), 2, options);
    REQUIRE(group.has_value());
    std::array<std::array<std::atomic<int>, 2>, 2> hits{};
    service s(sluice::testing::cores(2));
    const auto started = s.start([&](reactor& home) -> task<> {
        auto listener = sluice::tcp_listener::open(home, *group);
        auto served = co_await sluice::serve(*listener, [&](tcp_stream stream) -> task<> {
            auto chunk = co_await stream.recv();
            if (!chunk) co_return;
            ++hits[static_cast<std::size_t>(chunk->text()[0] - '0')][reactor::current()->index()];
            static_cast<void>(co_await stream.send_all(std::move(*chunk)));
        });
        CHECK(served.has_value());
    });
    REQUIRE(started.has_value());
    std::thread([&] {
        for (int i = 0; i < 200; ++i) {
            const auto which = static_cast<std::size_t>(i) % 2;
            if (!use_cpu(cpus[which])) break;
            auto client = plain_socket::connect(group->local());
            CHECK(client.send(which == 0 ? "0" : "1"));
            CHECK(client.recv_text(1).size() == 1);
        }
    }).join();
    s.request_stop();
    CHECK(s.wait().clean());
    // On loopback the sender's CPU handles the packet, but for one that is put off to the softirq
    // thread of another turn: it stays on the CPU all the same.
    CHECK(hits[0][0].load() == 100);
    CHECK(hits[1][1].load() == 100);
}

TEST_CASE("steering: by hash, and without a program, every connection finds a socket") {
    const watchdog limit;
    for (const auto by : {steering::hash, steering::none}) {
        listen_options options;
        options.steer.by = by;
        auto group = listener_group::open(endpoint::parse("127.0.0.1:0").value(), 3, options);
        REQUIRE(group.has_value());
        std::atomic<int> served_connections{0};
        service s(sluice::testing::cores(3));
        const auto started = s.start([&](reactor& home) -> task<> {
            auto listener = sluice::tcp_listener::open(home, *group);
            auto served = co_await sluice::serve(*listener, [&](tcp_stream stream) -> task<> {
                ++served_connections;
                static_cast<void>(co_await stream.recv());
            });
            CHECK(served.has_value());
        });
        REQUIRE(started.has_value());
        for (int i = 0; i < 50; ++i) {
            auto client = plain_socket::connect(group->local());
            client.shutdown_write();
            client.recv_all();
        }
        s.request_stop();
        CHECK(s.wait().clean());
        CHECK(served_connections.load() == 50);
    }
}

TEST_CASE("steering: each reactor gets what comes by its own rx queue") {
    sluice::zcrx_options zcrx;
    zcrx.interface = "eth0";
    zcrx.first_queue = 3;
    const auto steer = sluice::steer_to_rx_queues(zcrx, 2);
    CHECK(steer.by == steering::queue);
    CHECK(steer.queue_offset == 1);
    CHECK(steer.values == std::vector<std::uint32_t>{3, 4});

    CHECK(sluice::steer_to_rx_queues(zcrx, 1).by == steering::none);
    zcrx.reactors_per_queue = 2;
    CHECK(sluice::steer_to_rx_queues(zcrx, 2).by == steering::none);
    zcrx.reactors_per_queue = 1;
    zcrx.mode = sluice::receive_mode::copy;
    CHECK(sluice::steer_to_rx_queues(zcrx, 2).by == steering::none);
    zcrx = {};
    zcrx.device_less = true;
    CHECK(sluice::steer_to_rx_queues(zcrx, 2).by == steering::none);
}

TEST_CASE("steering: what can't be steered is an error") {
    const auto at = endpoint::parse("127.0.0.1:0").value();
    CHECK(sluice::queue_calibration::open(at, 0).has_error());
    CHECK(sluice::queue_calibration::open(at, 5000).has_error());
    listen_options options;
    options.steer.by = steering::cpu;
    options.steer.values = {0, 1, 2};
    const auto opened = listener_group::open(at, 2, options);
    CHECK(opened.error() == boost::system::errc::invalid_argument);
}

TEST_SUITE_END();
