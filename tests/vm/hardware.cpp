// SPDX-License-Identifier: Apache-2.0
// A queue of a NIC: bytes arrive where the NIC wrote them, settings stay as they must, and frames
// go to the queue that ntuple rules and RSS say.

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <sstream>
#include <vector>

#include "vm/nic_rig.hpp"
#include "vm/nic_stream.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::endpoint;
using sluice::reactor;
using sluice::reactor_options;
using sluice::task;
using sluice::zcrx_stats_of;
using sluice::testing::has_nic;
using sluice::testing::make_nic_wire;
using sluice::testing::make_reactor;
using sluice::testing::nic_rig;
using sluice::testing::nic_transfer;
using sluice::testing::on_nic;
using sluice::testing::pattern;
using sluice::testing::run_zcrx;
using sluice::testing::wire;

namespace {

constexpr std::uint64_t total = 4 << 20;

//! What is true of a stream without faults, however it was cut into frames.
void check_no_copy(const sluice::testing::zcrx_outcome& outcome, std::uint64_t bytes) {
    CHECK(outcome.net.net.zero_copy_connections == 1);
    CHECK(outcome.net.net.zero_copy_bytes == bytes);
    CHECK(outcome.net.net.bytes_in == bytes);
    CHECK(outcome.queue.copies == 0);
    CHECK(outcome.queue.copied_bytes == 0);
    CHECK(outcome.queue.copy_events == 0);
    CHECK(nic_rig::counter("provider_bytes") >= bytes);
    CHECK(nic_rig::counter("alloc_fail") == 0);
}

//! The Toeplitz hash of an IPv4 flow, by the key that the NIC tells.
std::uint32_t toeplitz(const std::vector<std::uint8_t>& key,
                       const std::vector<std::uint8_t>& input) {
    std::uint32_t hash = 0;
    for (std::size_t bit = 0; bit < input.size() * 8; ++bit) {
        if ((input[bit / 8] >> (7 - bit % 8) & 1) == 0) continue;
        std::uint32_t window = 0;
        for (std::size_t i = bit; i < bit + 32; ++i)
            window = window << 1 | (key[i / 8] >> (7 - i % 8) & 1U);
        hash ^= window;
    }
    return hash;
}

//! SO_INCOMING_NAPI_ID, see socket(7).
unsigned napi_of(const sluice::tcp_stream& stream) {
    unsigned id = 0;
    socklen_t size = sizeof id;
    CHECK(::getsockopt(stream.native_handle(), SOL_SOCKET, SO_INCOMING_NAPI_ID, &id, &size) == 0);
    return id;
}

std::vector<std::uint8_t> key_of(const std::string& interface) {
    const std::string text = nic_rig::output_of("ethtool -x " + interface);
    std::istringstream words(text.substr(text.find("hash key:") + 9));
    std::vector<std::uint8_t> key;
    for (std::string byte; std::getline(words, byte, ':') && key.size() < 40;)
        key.push_back(static_cast<std::uint8_t>(std::stoul(byte, nullptr, 16)));
    return key;
}

}  // namespace

TEST_SUITE_BEGIN("vm.hardware");

TEST_CASE("nic: payload arrives where the NIC wrote it, and nowhere else") {
    if (!has_nic()) return;
    nic_rig nic;
    check_no_copy(nic_transfer(nic, total, on_nic(2048)), total);
    CHECK(nic_rig::counter("fragments") > nic_rig::counter("buffers"));  // several to a chunk
}

TEST_CASE("nic: frames of 1500, of a page with headers, and of 9000 bytes; packed or not") {
    if (!has_nic()) return;
    for (const unsigned mtu : {1500U, 4148U, 9000U}) {
        for (const unsigned pack : {0U, 1U}) {
            CAPTURE(mtu);
            CAPTURE(pack);
            nic_rig nic;
            nic.set_mtu(mtu);
            nic.set("pack", pack);
            check_no_copy(nic_transfer(nic, total, on_nic(2048)), total);
            // By SYN, ACK and FIN there are more frames than those with payload.
            CHECK(nic_rig::counter("split") >= total / mtu);
        }
    }
}

TEST_CASE("nic: frames that the NIC has joined") {
    if (!has_nic()) return;
    nic_rig nic;
    REQUIRE(nic_rig::run_at_peer("ethtool -K sw1 tso on"));
    check_no_copy(nic_transfer(nic, total, on_nic(2048)), total);
    CHECK(nic_rig::counter("split") < total / 1448);
}

TEST_CASE("nic: room is granted for what waits in the sockets too") {
    if (!has_nic()) return;
    nic_rig nic;
    // 16 chunks for each connection would fit; with some 32 for each receive buffer they don't.
    reactor_options options = on_nic(256);
    options.zcrx.max_leases_per_connection = 16;
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> {
            std::vector<wire> wires;
            for (int i = 0; i < 8; ++i) {
                auto one = co_await make_nic_wire(home, nic);
                wires.push_back(std::move(one));
                CHECK(wires.back().peer.send(pattern(4).bytes(0, 4096)));
                std::uint64_t got = 0;
                while (got < 4096) {
                    auto chunk = co_await sluice::with_timeout(20s, wires.back().stream.recv());
                    REQUIRE(chunk.has_value());
                    CHECK(pattern(4).matches(got, chunk->bytes()));
                    got += chunk->size();
                }
            }
        },
        options);
    CHECK(outcome.net.net.zero_copy_connections == 8);
    CHECK(outcome.net.net.grants_cut > 0);
    CHECK(outcome.net.net.zero_copy_bytes > 0);
}

TEST_CASE("nic: chunks of 32 KiB") {
    if (!has_nic()) return;
    nic_rig nic;
    REQUIRE(nic_rig::run("ethtool -G sw0 rx 64"));
    reactor_options options = on_nic(256);
    options.zcrx.chunk_bytes = 32 * 1024;
    options.zcrx.area_bytes = options.zcrx.max_area_bytes = std::size_t{8} << 20;
    options.zcrx.pages = sluice::page_kind::huge;
    check_no_copy(nic_transfer(nic, total, options), total);
}

TEST_CASE("nic: what a bound queue needs cannot be changed, and can be afterwards") {
    if (!has_nic()) return;
    nic_rig nic;
    const std::array<std::string, 3> settings{"ethtool -G sw0 tcp-data-split off",
                                              "ethtool -G sw0 hds-thresh 1",
                                              "ethtool -L sw0 combined 1"};
    run_zcrx(
        [&](reactor& home) -> task<> {
            auto listener = sluice::testing::listen_on(home, 0);
            for (const std::string& setting : settings) {
                CAPTURE(setting);
                CHECK(!nic_rig::run(setting));
            }
            CHECK(nic_rig::counter("provider_bound") == 1);
            co_return;
        },
        on_nic(1024));
    // The kernel closes the queue some time after the ring.
    REQUIRE(sluice::testing::soon([] { return nic_rig::counter("provider_bound") == 0; }));
    for (const std::string& setting : settings) {
        CAPTURE(setting);
        CHECK(nic_rig::run(setting));
    }
}

TEST_CASE("nic: what is wrong with the interface is said") {
    if (!has_nic()) return;
    nic_rig nic;
    const auto refusal = [](const reactor_options& options) {
        const auto home = make_reactor(options);
        return sluice::testing::why_not_listening(*home);
    };
    CHECK(refusal(on_nic(64, 99)).find("there is no queue 99 of sw0") != std::string::npos);
    REQUIRE(nic_rig::run("ethtool -G sw0 tcp-data-split off"));
    CHECK(refusal(on_nic(64)).find("tcp-data-split on") != std::string::npos);
    REQUIRE(nic_rig::run("ethtool -G sw0 tcp-data-split on hds-thresh 64"));
    CHECK(refusal(on_nic(64)).find("hds-thresh 0") != std::string::npos);
}

TEST_CASE("nic: a queue that is taken, in words") {
    if (!has_nic()) return;
    nic_rig nic;
    run_zcrx(
        [](reactor& home) -> task<> {
            auto listener = sluice::testing::listen_on(home, 0);
            std::string said;
            std::thread([&] {
                reactor_options options = on_nic(64);
                options.zcrx.bind_wait = 100ms;
                const auto other = make_reactor(options);
                said = sluice::testing::why_not_listening(*other);
            }).join();
            CHECK(said.find("queue 1 of sw0 is taken") != std::string::npos);
            co_return;
        },
        on_nic(1024));
}

TEST_CASE(
    "nic: each queue has a NAPI, which its connections name; a queue without an area copies") {
    if (!has_nic()) return;
    nic_rig nic;
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> {
            std::vector<unsigned> napis;
            std::vector<wire> wires;
            for (const unsigned queue : {1U, 1U, 2U}) {
                wires.push_back(co_await make_nic_wire(home, nic, queue));
                CHECK(wires.back().peer.send(pattern(4).bytes(0, 4000)));
                auto got = co_await wires.back().stream.recv();
                REQUIRE(got.has_value());
                CHECK(pattern(4).matches(0, got->bytes()));
                napis.push_back(napi_of(wires.back().stream));
            }
            CHECK(napis[0] != 0);
            CHECK(napis[0] == napis[1]);
            CHECK(napis[2] != 0);
            CHECK(napis[2] != napis[0]);
        },
        on_nic(1024));
    CHECK(outcome.queue.copied_bytes > 0);
}

TEST_CASE("nic: rules and RSS lead a flow to the queue that anyone can compute") {
    if (!has_nic()) return;
    nic_rig nic;
    REQUIRE(nic_rig::run("ethtool -X sw0 equal 4"));
    REQUIRE(nic_rig::run("ethtool -N sw0 flow-type udp4 dst-port 7001 action 3"));
    REQUIRE(nic_rig::run("ethtool -N sw0 flow-type udp4 src-ip 10.78.0.2 src-port 40000 action 2"));
    REQUIRE(nic_rig::run("ethtool -X sw0 context new start 1 equal 1"));
    REQUIRE(nic_rig::run("ethtool -N sw0 flow-type udp4 dst-port 7002 context 1"));
    REQUIRE(nic_rig::run("ethtool -N sw0 flow-type udp4 dst-port 7003 action -1"));
    const std::vector<std::uint8_t> key = key_of("sw0");
    REQUIRE(key.size() == 40);

    const auto expected = [&](std::uint16_t from, std::uint16_t to) -> int {
        if (to == 7001) return 3;
        if (to == 7002) return 1;
        if (to == 7003) return -1;
        if (from == 40000) return 2;
        const std::vector<std::uint8_t> input{10,
                                              78,
                                              0,
                                              2,
                                              10,
                                              78,
                                              0,
                                              1,
                                              static_cast<std::uint8_t>(from >> 8),
                                              static_cast<std::uint8_t>(from),
                                              static_cast<std::uint8_t>(to >> 8),
                                              static_cast<std::uint8_t>(to)};
        return static_cast<int>(toeplitz(key, input) % 128 % 4);
    };
    // So that nothing else is counted among them.
    REQUIRE(nic_rig::run("echo 1 >/proc/sys/net/ipv6/conf/sw0/disable_ipv6"));
    REQUIRE(nic_rig::run_at_peer("echo 1 >/proc/sys/net/ipv6/conf/sw1/disable_ipv6"));
    REQUIRE(nic_rig::run("ip -n peer neigh replace 10.78.0.1 dev sw1 nud permanent "
                         "lladdr $(cat /sys/class/net/sw0/address)"));
    REQUIRE(nic_rig::run("ip neigh replace 10.78.0.2 dev sw0 nud permanent "
                         "lladdr $(ip netns exec peer cat /sys/class/net/sw1/address)"));
    std::vector<std::pair<std::uint16_t, std::uint16_t>> flows{
        {40000, 7000}, {40001, 7001}, {40002, 7002}, {40003, 7003}};
    for (std::uint16_t i = 0; i < 24; ++i)
        flows.emplace_back(static_cast<std::uint16_t>(41000 + i), std::uint16_t{7000});
    for (const auto& [from, to] : flows) {
        CAPTURE(from);
        CAPTURE(to);
        const auto packets = [] { return nic_rig::counters("packets"); };
        auto after = packets();
        const auto before = after;
        nic_rig::at_peer([&] { sluice::testing::send_datagram(nic_rig::address(to), from); });
        const int queue = expected(from, to);
        if (queue >= 0) {
            const auto q = static_cast<unsigned>(queue);
            CHECK(sluice::testing::soon([&] { return (after = packets())[q] > before[q]; }));
        }
        after = packets();
        for (unsigned q = 0; q < 4; ++q)
            CHECK(after[q] - before[q] == (static_cast<int>(q) == queue ? 1 : 0));
    }
}

TEST_SUITE_END();
