// SPDX-License-Identifier: Apache-2.0
#include "sluice/asio.hpp"

#include <doctest/doctest.h>

#include <span>
#include <string>

using boost::asio::ip::make_address;
using boost::asio::ip::tcp;
using boost::asio::ip::udp;
using local = boost::asio::local::stream_protocol;
using sluice::endpoint;
using sluice::from_asio;
using sluice::to_asio;

TEST_SUITE_BEGIN("loopback.names");

TEST_CASE("asio: endpoints there and back") {
    for (const char* text : {"127.0.0.1:80", "[::1]:7777", "[2001:db8::5]:0", "0.0.0.0:65535"}) {
        const endpoint ours = endpoint::parse(text).value();
        const auto theirs = to_asio<tcp::endpoint>(ours);
        REQUIRE(theirs.has_value());
        CHECK(theirs->port() == ours.port());
        CHECK(from_asio(*theirs).value() == ours);
        CHECK(from_asio(to_asio<udp::endpoint>(ours).value()).value() == ours);
    }
    const tcp::endpoint v6(make_address("2001:db8::9"), 99);
    CHECK(from_asio(v6)->to_string() == "[2001:db8::9]:99");
}

TEST_CASE("asio: Unix endpoints there and back, by path and abstract") {
    for (const char* text : {"unix:/tmp/a.sock", "unix:@abstract"}) {
        const endpoint ours = endpoint::parse(text).value();
        const auto theirs = to_asio<local::endpoint>(ours);
        REQUIRE(theirs.has_value());
        CHECK(from_asio(*theirs)->to_string() == text);
    }
    CHECK(from_asio(local::endpoint("/tmp/b.sock"))->to_string() == "unix:/tmp/b.sock");
}

TEST_CASE("asio: the wrong family is EAFNOSUPPORT") {
    const auto v4 = endpoint::parse("127.0.0.1:80").value();
    const auto path = endpoint::parse("unix:/x").value();
    CHECK(to_asio<local::endpoint>(v4).error() ==
          boost::system::errc::address_family_not_supported);
    CHECK(to_asio<tcp::endpoint>(path).error() ==
          boost::system::errc::address_family_not_supported);
    CHECK(to_asio<udp::endpoint>(path).error() ==
          boost::system::errc::address_family_not_supported);
}

TEST_CASE("asio: received bytes as buffers and buffer sequences") {
    sluice::buffer_chain chain;
    std::string expected;
    for (const char* text : {"one", "", "three", "four"}) {
        const std::string s = text;
        chain.append(sluice::rx_buffer::copy_of(std::as_bytes(std::span(s))));
        expected += s;
    }
    const auto sequence = to_asio(chain);
    static_assert(boost::asio::is_const_buffer_sequence<decltype(sequence)>::value);
    CHECK(boost::asio::buffer_size(sequence) == expected.size());
    std::string copied(expected.size(), ' ');
    boost::asio::buffer_copy(boost::asio::buffer(copied), sequence);
    CHECK(copied == expected);
    CHECK(to_asio(chain[0]).data() == chain[0].data());
    CHECK(to_asio(sluice::buffer_chain{}).empty());
}

TEST_SUITE_END();
