// SPDX-License-Identifier: Apache-2.0
#include "sluice/placement.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "net/accept_exchange.hpp"
#include "net/port_search.hpp"
#include "nic_states.hpp"
#include "sluice/rss.hpp"
#include "zcrx/nic/target.hpp"

using sluice::endpoint;
using sluice::queue_of_flow;
using sluice::rss_table;
using sluice::detail::offset_vote;
using sluice::detail::port_range;
using sluice::detail::port_search;

namespace {

// "Verifying the RSS Hash Calculation", Windows Driver Kit: the key, and hashes with ports.
const std::vector<std::uint8_t> verification_key{
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

struct vector_of_flow {
    const char* from;
    const char* to;
    std::uint32_t hash;
};
constexpr std::array<vector_of_flow, 8> vectors{{
    {"66.9.149.187:2794", "161.142.100.80:1766", 0x51ccc178},
    {"199.92.111.2:14230", "65.69.140.83:4739", 0xc626b0ea},
    {"24.19.198.95:12898", "12.22.207.184:38024", 0x5c2b394a},
    {"38.27.205.30:48228", "209.142.163.6:2217", 0xafc7327f},
    {"153.39.163.191:44251", "202.188.127.2:1303", 0x10e828a2},
    {"[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x40207d3d},
    {"[3ffe:501:8::260:97ff:fe40:efab]:14230", "[ff02::1]:4739", 0xdde51bbf},
    {"[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251", "[fe80::200:f8ff:fe21:67cf]:38024", 0x02d1feef},
}};

//! Tells the hash modulo `size`.
rss_table identity(std::uint32_t size) {
    rss_table table{verification_key, {}};
    for (std::uint32_t i = 0; i < size; ++i) table.queues.push_back(i);
    return table;
}

endpoint at(const char* text) { return endpoint::parse(text).value(); }

}  // namespace

TEST_SUITE("placement") {
    TEST_CASE("toeplitz: the published vectors of addresses alone") {
        const auto hash = [](std::initializer_list<std::uint8_t> bytes) {
            const std::vector<std::uint8_t> input(bytes);
            return sluice::toeplitz_hash(verification_key, input);
        };
        CHECK(hash({66, 9, 149, 187, 161, 142, 100, 80}) == 0x323e8fc2);
        CHECK(hash({199, 92, 111, 2, 65, 69, 140, 83}) == 0xd718262a);
        CHECK(hash({24, 19, 198, 95, 12, 22, 207, 184}) == 0xd2d0a5de);
        CHECK(hash({38, 27, 205, 30, 209, 142, 163, 6}) == 0x82989176);
        CHECK(hash({153, 39, 163, 191, 202, 188, 127, 2}) == 0x5d1809c5);
        CHECK(hash({}) == 0);
    }

    TEST_CASE("toeplitz: a key that is too short goes on with zeros") {
        const std::vector<std::uint8_t> key{0x80, 0, 0, 0};
        const std::vector<std::uint8_t> input{0xff, 0xff};
        // Only the first window has the key's bit; the 15 others have shifted it out.
        CHECK(sluice::toeplitz_hash(key, input) == 0x80000000);
        CHECK(sluice::toeplitz_hash({}, input) == 0);
    }

    TEST_CASE("queue_of_flow: the published vectors with ports, IPv4 and IPv6") {
        // All of the hash: three tables whose sizes have no common divisor.
        for (const std::uint32_t size : {65536U, 65521U, 65519U}) {
            const rss_table table = identity(size);
            for (const vector_of_flow& v : vectors) {
                CAPTURE(v.from);
                CHECK(queue_of_flow(table, at(v.from), at(v.to)) == v.hash % size);
            }
        }
        CHECK(queue_of_flow(identity(65521), at("[::ffff:66.9.149.187]:2794"),
                            at("161.142.100.80:1766")) == 0x51ccc178 % 65521);
    }

    TEST_CASE("queue_of_flow: nothing where there is nothing to hash") {
        CHECK(!queue_of_flow(identity(0), at("192.0.2.1:1"), at("192.0.2.2:2")));
        CHECK(!queue_of_flow(identity(8), at("192.0.2.1:1"), at("[2001:db8::1]:2")));
        CHECK(!queue_of_flow(identity(8), at("unix:/a"), at("unix:/b")));
    }

    TEST_CASE("port search: every fitting port once, from anywhere on") {
        rss_table table{verification_key, {4, 5, 6, 7}};
        const endpoint peer = at("192.0.2.9:80");
        const endpoint local = at("192.0.2.1:0");
        for (const std::uint32_t start : {0U, 77U, 4'000'000'000U}) {
            port_search search(table, 6, local, peer, port_range{40000, 40399}, start);
            std::set<std::uint16_t> found;
            while (const auto port = search.next()) {
                CHECK(*port >= 40000);
                CHECK(*port <= 40399);
                CHECK(queue_of_flow(table, peer, local.with_port(*port)) == 6U);
                CHECK(found.insert(*port).second);
            }
            // A quarter, more or less; the others fit other queues.
            CHECK(found.size() > 60);
            CHECK(found.size() < 140);
        }
        port_search none(table, 8, local, peer, port_range{1, 65535}, 0);
        CHECK(!none.next());
        const rss_table single{verification_key, {3}};
        port_search one(single, 3, local, peer, port_range{7, 7}, 9);
        CHECK(one.next() == 7);
        CHECK(!one.next());
    }

    TEST_CASE("ports of this machine") {
        const port_range range = sluice::detail::local_ports();
        CHECK(range.first > 0);
        CHECK(range.first <= range.last);
    }

    TEST_CASE("offset vote: right from the beginning, it stays") {
        offset_vote vote(1);
        for (unsigned i = 0; i < 1000; ++i) CHECK(!vote.cast(4 + i % 4, 4 + i % 4));
        CHECK(vote.in_use() == 1);
    }

    TEST_CASE("offset vote: wrong, it changes after eight connections, and back again") {
        offset_vote vote(0);
        // Recorded 5 + 1 came to the socket for 6.
        for (int i = 0; i < 7; ++i) CHECK(!vote.cast(6, 5));
        CHECK(vote.cast(6, 5));
        CHECK(vote.in_use() == 1);
        for (int i = 0; i < 7; ++i) CHECK(!vote.cast(4, 5));
        CHECK(vote.cast(4, 5));
        CHECK(vote.in_use() == 0);
    }

    TEST_CASE("offset vote: what the kernel has chosen by itself decides nothing") {
        offset_vote vote(1);
        for (unsigned i = 0; i < 100; ++i) {
            CHECK(!vote.cast(2, 7));
            CHECK(!vote.cast(9, 2));
        }
        // As many for each: it stays.
        for (unsigned i = 0; i < 100; ++i) {
            CHECK(!vote.cast(5, 5));
            CHECK(!vote.cast(4, 5));
        }
        CHECK(vote.in_use() == 1);
    }

    TEST_CASE("peer ports: rules by the source port, into the queues' context") {
        auto request = nic_test::wanted();
        request.queues = {2, 3};
        request.peer_ports = {5432};
        std::vector<std::string> said;
        for (const auto& step : sluice::plan_nic(nic_test::fresh(), request))
            if (step.set.what == sluice::nic_setting::kind::rule) said.push_back(step.command);
        REQUIRE(said.size() == 4);
        CHECK(said[0].starts_with("ethtool -N eth0 flow-type tcp4 dst-port 7000 context"));
        CHECK(said[1].starts_with("ethtool -N eth0 flow-type tcp4 src-port 5432 context"));
        CHECK(said[3].starts_with("ethtool -N eth0 flow-type tcp6 src-port 5432 context"));
    }

    TEST_CASE("peer ports: a rule for the local port is not one for the peer's") {
        auto state = nic_test::ready();
        auto request = nic_test::wanted();
        request.port.reset();
        request.peer_ports = {7000};
        CHECK(sluice::plan_nic(state, request).size() == 3);  // the split, and two rules
        for (auto& rule : state.rules) rule.of_peer = true;
        CHECK(sluice::plan_nic(state, request).size() == 1);
        for (auto& rule : state.rules) rule.queue = 1;
        bool refused = false;
        for (const auto& r : sluice::check_nic(state, request))
            if (r.name == "steering" && r.verdict == sluice::nic_verdict::cannot) {
                refused = true;
                CHECK(r.why.find("the peer's port 7000") != std::string::npos);
            }
        CHECK(refused);
    }

    TEST_CASE("peer ports: how the NIC spreads what comes from there") {
        auto state = nic_test::fresh();
        state.hash_key = verification_key;
        auto request = nic_test::wanted();
        rss_table one = sluice::detail::spread_of(state, sluice::detail::target_of(state, request));
        CHECK(one.queues == std::vector<std::uint32_t>{3});
        CHECK(one.key == verification_key);
        request.queues = {2, 3};
        const auto target = sluice::detail::target_of(state, request);
        state.contexts.push_back({.id = 1, .table = target.context, .hash_key = {1, 2, 3}});
        const rss_table two = sluice::detail::spread_of(state, target);
        CHECK(two.queues.size() == 128);
        CHECK(two.queues == target.context);
        CHECK(two.key == std::vector<std::uint8_t>{1, 2, 3});
    }
}
