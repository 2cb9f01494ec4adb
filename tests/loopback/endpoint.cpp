// SPDX-License-Identifier: Apache-2.0
#include "sluice/endpoint.hpp"

#include <arpa/inet.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>
#include <string>

#include <doctest/doctest.h>

using sluice::endpoint;
using namespace std::string_literals;

namespace {

std::string round_trip(const std::string& text) {
    const auto parsed = endpoint::parse(text);
    return parsed ? parsed->to_string() : parsed.error().message();
}

void check_refused(const std::string& text) {
    INFO("text: ", text);
    const auto parsed = endpoint::parse(text);
    REQUIRE(parsed.has_error());
    CHECK(parsed.error() == boost::system::errc::invalid_argument);
}

template <class Address>
sluice::result<endpoint> from(const Address& a, std::size_t length) {
    return endpoint::from(reinterpret_cast<const sockaddr*>(&a), static_cast<socklen_t>(length));
}

}  // namespace

TEST_SUITE_BEGIN("loopback.names");

TEST_CASE("endpoint: text and back") {
    for (const char* text :
         {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::]:0", "[::1]:7777",
          "[2001:db8::1]:443", "[::ffff:192.0.2.1]:80", "unix:/run/x.sock", "unix:relative",
          "unix:@abstract", "unix:@", "unix:/with space:and colon:1"})
        CHECK(round_trip(text) == text);
    CHECK(round_trip("[2001:0DB8:0:0:0:0:0:1]:00080") == "[2001:db8::1]:80");
}

TEST_CASE("endpoint: what the kernel sees") {
    const auto v4 = endpoint::parse("192.0.2.7:4660").value();
    sockaddr_in a4{};
    REQUIRE(v4.size() == sizeof a4);
    std::memcpy(&a4, v4.data(), sizeof a4);
    CHECK(a4.sin_family == AF_INET);
    CHECK(a4.sin_port == htons(4660));
    CHECK(a4.sin_addr.s_addr == htonl(0xc0000207));
    const auto v6 = endpoint::of("2001:db8::5", 99).value();
    sockaddr_in6 a6{};
    REQUIRE(v6.size() == sizeof a6);
    std::memcpy(&a6, v6.data(), sizeof a6);
    CHECK(a6.sin6_family == AF_INET6);
    CHECK(a6.sin6_port == htons(99));
    CHECK(a6.sin6_addr.s6_addr[0] == 0x20);
    CHECK(a6.sin6_addr.s6_addr[15] == 5);
    const auto local = endpoint::parse("unix:/tmp/a").value();
    CHECK(local.family() == AF_UNIX);
    CHECK(local.size() == offsetof(sockaddr_un, sun_path) + sizeof "/tmp/a");
    const auto abstract = endpoint::parse("unix:@ab").value();
    CHECK(abstract.size() == offsetof(sockaddr_un, sun_path) + 3);
    sockaddr_un au{};
    std::memcpy(&au, abstract.data(), abstract.size());
    CHECK(std::memcmp(au.sun_path, "\0ab", 3) == 0);
}

TEST_CASE("endpoint: wrong text is EINVAL") {
    for (const char* text : {"",
                             ":",
                             "80",
                             "127.0.0.1",
                             "127.0.0.1:",
                             "127.0.0.1:-1",
                             "127.0.0.1:65536",
                             "127.0.0.1:8a",
                             "127.0.0.1: 80",
                             " 127.0.0.1:80",
                             "127.0.0.1:80 ",
                             "127.0.0:80",
                             "127.0.0.256:80",
                             "localhost:80",
                             "::1:80",
                             "[::1]",
                             "[::1",
                             "[::1:80",
                             "::1]:80",
                             "[::1]80",
                             "[]:80",
                             "[:::1]:80",
                             "[::1%]:80",
                             "[::1%no-such-interface]:80",
                             "127.0.0.1%lo:80",
                             "unix:",
                             "UNIX:/x",
                             ":80",
                             "[[::1]]:80"})
        check_refused(text);
}

TEST_CASE("endpoint: a zero byte inside is not the end of the text") {
    check_refused("127.0.0.1\0x:80"s);
    check_refused("[::1\0]:80"s);
    check_refused("[::1%1\0]:80"s);
    check_refused("unix:/tmp/a\0b"s);
    check_refused("127.0.0.1:80\0"s);
}

TEST_CASE("endpoint: Unix names as long as can be, and longer") {
    const std::string longest(sizeof(sockaddr_un::sun_path) - 1, 'p');
    CHECK(round_trip("unix:" + longest) == "unix:" + longest);
    check_refused("unix:" + longest + "p");
    check_refused("unix:" + std::string(10'000, 'p'));
}

TEST_CASE("endpoint: of() takes an address with or without brackets") {
    CHECK(endpoint::of("::1", 5).value() == endpoint::of("[::1]", 5).value());
    CHECK(endpoint::of("10.0.0.1", 5)->to_string() == "10.0.0.1:5");
    CHECK(endpoint::of("[::1", 5).has_error());
    CHECK(endpoint::of("", 5).has_error());
    CHECK(endpoint::of("::1:", 5).has_error());
}

TEST_CASE("endpoint: the zone of a link-local address by name and by number") {
    const unsigned index = ::if_nametoindex("lo");
    REQUIRE(index != 0);
    const auto by_name = endpoint::parse("[fe80::1%lo]:80").value();
    const auto by_number = endpoint::parse("[fe80::1%" + std::to_string(index) + "]:80").value();
    CHECK(by_name == by_number);
    sockaddr_in6 a{};
    std::memcpy(&a, by_name.data(), sizeof a);
    CHECK(a.sin6_scope_id == index);
    CHECK(round_trip(by_name.to_string()) == by_name.to_string());
    CHECK(endpoint::parse(by_name.to_string()).value() == by_name);
    CHECK_FALSE(by_name == endpoint::parse("[fe80::1]:80").value());
}

TEST_CASE("endpoint: ports") {
    const endpoint none;
    CHECK(none.to_string() == "0.0.0.0:0");
    CHECK(none.with_port(7).to_string() == "0.0.0.0:7");
    CHECK(endpoint::parse("[::1]:1")->with_port(65535).port() == 65535);
    const auto local = endpoint::parse("unix:/x").value();
    CHECK(local.port() == 0);
    CHECK(local.with_port(9) == local);
    CHECK_FALSE(none == none.with_port(1));
    CHECK_FALSE(none == endpoint::parse("[::]:0").value());
}

TEST_CASE("endpoint: from what the kernel fills in") {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(8);
    CHECK(from(v4, sizeof v4)->to_string() == "0.0.0.0:8");
    CHECK(from(v4, sizeof v4 - 1).error() == boost::system::errc::invalid_argument);
    CHECK(from(v4, 0).error() == boost::system::errc::invalid_argument);
    CHECK(endpoint::from(nullptr, 16).error() == boost::system::errc::invalid_argument);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    CHECK(from(v6, sizeof v6)->to_string() == "[::]:0");
    CHECK(from(v6, sizeof(sockaddr_in)).error() == boost::system::errc::invalid_argument);
    sockaddr_un unnamed{};
    unnamed.sun_family = AF_UNIX;
    const auto peer = from(unnamed, sizeof unnamed.sun_family);  // as accept() gives it
    REQUIRE(peer.has_value());
    CHECK(peer->family() == AF_UNIX);
    CHECK(peer->to_string() == "unix:");
    sockaddr_storage other{};
    other.ss_family = AF_NETLINK;
    CHECK(from(other, sizeof(sockaddr_in)).error() ==
          boost::system::errc::address_family_not_supported);
    CHECK(from(other, sizeof other).has_error());
}

TEST_SUITE_END();
