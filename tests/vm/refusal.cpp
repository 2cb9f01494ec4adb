// SPDX-License-Identifier: Apache-2.0
// What can't be had: said in words, and then either copied or refused, as the mode says.

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "sluice/listener.hpp"
#include "support/child.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::reactor_options;
using sluice::receive_mode;
using sluice::task;
using sluice::with_timeout;
using sluice::zcrx_stats_of;
using sluice::testing::has_device_less_queues;
using sluice::testing::make_reactor;
using sluice::testing::make_wire;
using sluice::testing::small_area;
using sluice::testing::wire;

namespace {

//! Gives a capability up, for good.
bool drop_capability(unsigned number) {
    __user_cap_header_struct header{};
    header.version = _LINUX_CAPABILITY_VERSION_3;
    std::array<__user_cap_data_struct, 2> data{};
    if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
    for (auto* set : {&data[number / 32].effective, &data[number / 32].permitted})
        *set &= ~(1U << (number % 32));
    return ::syscall(SYS_capset, &header, data.data()) == 0;
}

//! Why this reactor has no rx queue; empty when it has one.
std::string why_not(const reactor& home) {
    for (const sluice::feature& f : home.ring_features().list())
        if (f.name == "ZCRX") return f.why_not;
    return "nobody asked";
}

//! A child prints what it has to say itself; doctest's own output would come from both.
template <class F>
bool in_child_process(F fn) {
    const auto outcome = sluice::testing::in_child([&] { return fn() ? 0 : 1; });
    if (outcome.exit_code != 0) MESSAGE(outcome.errors);
    return outcome.exit_code == 0;
}

//! Two messages each way, whatever the mode.
bool exchanges_bytes(reactor& home) {
    bool answered = false;
    home.spawn([&]() -> task<> {
        wire w = co_await make_wire();
        if (!w.peer.send(std::vector<std::byte>(100))) co_return;
        auto chunk = co_await with_timeout(5s, w.stream.recv());
        answered = chunk.has_value() && chunk->size() == 100;
    });
    home.run_until_idle();
    return answered;
}

reactor_options asking(receive_mode mode) {
    reactor_options options = small_area(64);
    options.zcrx.mode = mode;
    return options;
}

//! In mode auto: copies, and says why in words that contain `cause`.
bool copies_because(const std::string& cause, const reactor_options& options) {
    const auto home = make_reactor(options);
    if (!exchanges_bytes(*home) || zcrx_stats_of(*home).in_use) return false;
    if (why_not(*home).find(cause) != std::string::npos) return true;
    std::fprintf(stderr, "said instead: %s\n", why_not(*home).c_str());
    return false;
}

//! In mode zc: listening fails, and the explanation contains `cause`.
bool refused_because(const std::string& cause, const reactor_options& options) {
    const auto home = make_reactor(options);
    auto group = sluice::listener_group::open(sluice::endpoint::of("127.0.0.1", 0).value(), 1);
    if (!group) return false;
    auto listener = sluice::tcp_listener::open(*home, *group);
    if (listener) return false;
    const std::string said = sluice::explain_receive_error(listener.error(), *home);
    if (said.find(cause) != std::string::npos) return true;
    std::fprintf(stderr, "said instead: %s\n", said.c_str());
    return false;
}

//! Both, with the options changed by `change`.
template <class F>
bool fails_in_both_modes(const std::string& cause, F change) {
    reactor_options can = asking(receive_mode::automatic);
    reactor_options must = asking(receive_mode::zc);
    change(can.zcrx);
    change(must.zcrx);
    return copies_because(cause, can) && refused_because(cause, must);
}

}  // namespace

TEST_SUITE_BEGIN("vm.refusal");

TEST_CASE("zcrx: an interface that is not there") {
    CHECK(fails_in_both_modes("no interface sluice-none", [](sluice::zcrx_options& o) {
        o.device_less = false;
        o.interface = "sluice-none";
    }));
}

TEST_CASE("zcrx: an interface that can't") {
    CHECK(fails_in_both_modes("driver of lo", [](sluice::zcrx_options& o) {
        o.device_less = false;
        o.interface = "lo";
    }));
}

TEST_CASE("zcrx: nothing to receive from") {
    const auto home_of = [](receive_mode mode) {
        reactor_options options = asking(mode);
        options.zcrx.device_less = false;
        return options;
    };
    CHECK(refused_because("no interface was named", home_of(receive_mode::zc)));
    const auto copying = make_reactor(home_of(receive_mode::automatic));
    CHECK(exchanges_bytes(*copying));
}

TEST_CASE("zcrx: chunks that are no power of two") {
    CHECK(
        fails_in_both_modes("power of two", [](sluice::zcrx_options& o) { o.chunk_bytes = 5000; }));
}

TEST_CASE("zcrx: without CAP_NET_ADMIN") {
    if (!has_device_less_queues()) return;
    CHECK(in_child_process([] {
        return drop_capability(CAP_NET_ADMIN) &&
               fails_in_both_modes("CAP_NET_ADMIN", [](sluice::zcrx_options&) {});
    }));
}

TEST_CASE("zcrx: too little locked memory") {
    if (!has_device_less_queues()) return;
    CHECK(in_child_process([] {
        // The rings are counted too: enough for them, not for the area.
        const rlimit limit{2 << 20, 2 << 20};
        return ::setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && drop_capability(CAP_IPC_LOCK) &&
               fails_in_both_modes("RLIMIT_MEMLOCK",
                                   [](sluice::zcrx_options& o) { o.area_bytes = 16 << 20; });
    }));
}

TEST_CASE("zcrx: chunks above a page need a device") {
    if (!has_device_less_queues()) return;
    CHECK(fails_in_both_modes("larger than a page",
                              [](sluice::zcrx_options& o) { o.chunk_bytes = 8192; }));
}

TEST_CASE("zcrx: a connection that is not TCP goes on with copies") {
    if (!has_device_less_queues()) return;
    const auto outcome = sluice::testing::run_zcrx(
        []() -> task<> {
            wire w = co_await sluice::testing::make_unix_wire();
            CHECK(w.peer.send(std::vector<std::byte>(1000)));
            auto chunk = co_await with_timeout(5s, w.stream.recv());
            REQUIRE(chunk.has_value());
            CHECK(chunk->size() == 1000);
        },
        asking(receive_mode::automatic));
    CHECK(outcome.net.net.zero_copy_left == 1);
}

TEST_SUITE_END();
