// SPDX-License-Identifier: Apache-2.0
#include "sluice/stream_reader.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;
using sluice::buffer_chain;
using sluice::nursery;
using sluice::reactor_options;
using sluice::stream_reader;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::peer_thread;
using sluice::testing::run_net;
using sluice::testing::wire;

namespace {

//! Buffers so small that every message is in several.
reactor_options tiny_buffers() {
    reactor_options options;
    options.recv_buffers = 64;
    options.recv_buffer_size = 3;
    return options;
}

}  // namespace

TEST_SUITE_BEGIN("loopback.reader");

TEST_CASE("reader: recv_exact over chunks of all sizes") {
    static constexpr std::size_t total = 30'000;
    for (const reactor_options& options : {reactor_options{}, tiny_buffers()})
        run_net(
            []() -> task<> {
                wire w = co_await make_wire();
                peer_thread sender([&] { CHECK(w.peer.send(pattern(1).bytes(0, total))); });
                stream_reader reader(w.stream);
                std::size_t taken = 0;
                for (std::size_t size = 0; taken < total; size = (size * 3 + 1) % 1000) {
                    const std::size_t wanted = std::min(size, total - taken);
                    auto chain = co_await reader.recv_exact(wanted);
                    REQUIRE(chain.has_value());
                    REQUIRE(chain->size() == wanted);
                    const std::string text = chain->to_string();
                    CHECK(pattern(1).matches(taken, std::as_bytes(std::span(text))));
                    taken += wanted;
                }
                CHECK(reader.buffered() == 0);
                co_await sender.finished();
            },
            options);
}

TEST_CASE("reader: recv_until finds a delimiter across slices") {
    for (const reactor_options& options : {reactor_options{}, tiny_buffers()})
        run_net(
            []() -> task<> {
                wire w = co_await make_wire();
                const std::string text =
                    "GET /\r\n\r\n\r\r\n\r\nbody\r\r\n\rx\r\n\r\n--b--b-bound\0ary"s;
                CHECK(w.peer.send(text));
                stream_reader reader(w.stream);
                for (const char* expected :
                     {"GET /\r\n\r\n", "\r\r\n\r\n", "body\r\r\n\rx\r\n\r\n"}) {
                    auto message = co_await reader.recv_until("\r\n\r\n", 1000);
                    REQUIRE(message.has_value());
                    CHECK(message->to_string() == expected);
                }
                auto bound = co_await reader.recv_until("--b-bound\0"sv, 1000);
                REQUIRE(bound.has_value());
                CHECK(bound->to_string() == "--b--b-bound\0"s);
                auto rest = co_await reader.recv_exact(3);
                CHECK(rest.value().to_string() == "ary");
            },
            options);
}

SLUICE_NET_TEST("reader: a delimiter that comes byte by byte") {
    wire w = co_await make_wire();
    stream_reader reader(w.stream);
    std::string got;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto message = co_await reader.recv_until("ENDEND", 100);
            got = message.value().to_string();
        });
        for (const char c : "xENDENENDEND"sv) {
            CHECK(w.peer.send(std::string_view(&c, 1)));
            static_cast<void>(co_await sluice::sleep_for(1ms));
        }
    });
    CHECK(outcome.has_value());
    CHECK(got == "xENDENENDEND");
}

SLUICE_NET_TEST("reader: the limit counts the delimiter, and what is over it stays") {
    wire w = co_await make_wire();
    stream_reader reader(w.stream);
    CHECK(w.peer.send("12345\n67890\n"));
    auto fits = co_await reader.recv_until("\n", 6);
    CHECK(fits.value().to_string() == "12345\n");
    auto too_long = co_await reader.recv_until("\n", 5);
    REQUIRE(too_long.has_error());
    CHECK(too_long.error() == sluice::error::truncated);
    auto never = co_await reader.recv_until("?", 3);
    REQUIRE(never.has_error());
    CHECK(never.error() == sluice::error::truncated);
    auto all = co_await reader.recv_until("\n", 6);
    CHECK(all.value().to_string() == "67890\n");
    bool refused = false;
    try {
        static_cast<void>(co_await reader.recv_until("", 5));
    } catch (const std::invalid_argument&) {
        refused = true;
    }
    CHECK(refused);
}

SLUICE_NET_TEST("reader: peek takes nothing") {
    wire w = co_await make_wire();
    stream_reader reader(w.stream);
    CHECK(w.peer.send("abcdef"));
    for (int i = 0; i < 3; ++i) {
        auto seen = co_await reader.peek(4);
        REQUIRE(seen.has_value());
        CHECK(seen->to_string() == "abcd");
        CHECK(reader.buffered() >= 4);
    }
    auto kept = co_await reader.peek(6);
    auto taken = co_await reader.recv_exact(6);
    CHECK(taken.value().to_string() == "abcdef");
    CHECK(kept.value().to_string() == "abcdef");
    auto none = co_await reader.peek(0);
    CHECK(none.value().empty());
}

SLUICE_NET_TEST("reader: eof between messages, truncated inside one, nothing lost") {
    wire w = co_await make_wire();
    stream_reader reader(w.stream);
    CHECK(w.peer.send("whole|part"));
    w.peer.shutdown_write();
    auto whole = co_await reader.recv_until("|", 100);
    CHECK(whole.value().to_string() == "whole|");
    auto part = co_await reader.recv_until("|", 100);
    REQUIRE(part.has_error());
    CHECK(part.error() == sluice::error::truncated);
    auto exact = co_await reader.recv_exact(5);
    REQUIRE(exact.has_error());
    CHECK(exact.error() == sluice::error::truncated);
    auto peeked = co_await reader.peek(5);
    CHECK(peeked.error() == sluice::error::truncated);
    CHECK(reader.buffered() == 4);
    auto rest = co_await reader.recv_exact(reader.buffered());
    CHECK(rest.value().to_string() == "part");
    auto end = co_await reader.recv_exact(1);
    REQUIRE(end.has_error());
    CHECK(end.error() == sluice::error::eof);
    auto nothing = co_await reader.recv_exact(0);
    CHECK(nothing.has_value());
}

SLUICE_NET_TEST("reader: cancelled or timed out in the middle, all bytes stay") {
    wire w = co_await make_wire();
    stream_reader reader(w.stream);
    CHECK(w.peer.send("some of it"));
    auto timed_out = co_await with_timeout(20ms, reader.recv_exact(20));
    REQUIRE(timed_out.has_error());
    CHECK(timed_out.error() == sluice::error::timeout);
    CHECK(reader.buffered() == 10);
    auto no_delimiter = co_await with_timeout(5ms, reader.recv_until("!", 100));
    CHECK(no_delimiter.error() == sluice::error::timeout);
    boost::system::error_code seen;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto exact = co_await reader.recv_exact(20);
            if (!exact) seen = exact.error();
        });
        co_await sluice::testing::some_turns();
        scope.request_stop();
    });
    CHECK(outcome.has_value());
    CHECK(seen == boost::system::errc::operation_canceled);
    CHECK(w.peer.send(" and rest!"));
    auto all = co_await reader.recv_exact(20);
    REQUIRE(all.has_value());
    CHECK(all->to_string() == "some of it and rest!");
}

SLUICE_NET_TEST("reader: reset in the middle of a message") {
    wire w = co_await make_wire();
    stream_reader reader(w.stream);
    CHECK(w.peer.send("half"));
    auto peeked = co_await reader.peek(4);
    CHECK(peeked.has_value());
    w.peer.reset();
    auto exact = co_await reader.recv_exact(8);
    REQUIRE(exact.has_error());
    CHECK(exact.error() == boost::system::errc::connection_reset);
    CHECK(reader.buffered() == 4);
}

TEST_SUITE_END();
