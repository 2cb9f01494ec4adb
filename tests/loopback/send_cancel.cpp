// SPDX-License-Identifier: Apache-2.0
// What a cancelled send leaves behind: nothing of it sent, or a broken write side.

#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::bytes_of;
using sluice::testing::make_wire;
using sluice::testing::peer_thread;
using sluice::testing::wire;

namespace {

const std::vector<std::byte>& much() {
    static const std::vector<std::byte> bytes(32 << 20);
    return bytes;
}

//! Fills the socket's buffers, so that the next send has to wait. Gives the bytes sent.
task<std::size_t> stuff(tcp_stream& stream) {
    std::size_t total = 0;
    // The kernel makes a little room after it said that there is none.
    for (int refusals = 0; refusals < 5; ++refusals) {
        auto sent = co_await with_timeout(20ms, stream.send(much()));
        if (sent) {
            total += *sent;
            refusals = 0;
        } else {
            CHECK(sent.error() == sluice::error::timeout);
        }
    }
    co_return total;
}

}  // namespace

TEST_SUITE_BEGIN("loopback.send");

SLUICE_NET_TEST("send cancelled: before it begins, nothing is sent and the stream is good") {
    wire w = co_await make_wire();
    boost::system::error_code seen[3];
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.request_stop();
        scope.spawn([&]() -> task<> {
            auto sent = co_await w.stream.send_all(bytes_of("no"));
            if (!sent) seen[0] = sent.error();
            auto some = co_await w.stream.send(bytes_of("no"));
            if (!some) seen[1] = some.error();
            auto ended = co_await w.stream.shutdown();
            if (!ended) seen[2] = ended.error();
        });
        co_return;
    });
    CHECK(outcome.has_value());
    for (const auto& e : seen) CHECK(e == boost::system::errc::operation_canceled);
    auto sent = co_await w.stream.send_all(bytes_of("yes"));
    CHECK(sent.has_value());
    auto ended = co_await w.stream.shutdown();
    CHECK(ended.has_value());
    CHECK(w.peer.recv_all() == "yes");
}

SLUICE_NET_TEST("send cancelled: waiting for room with nothing sent, the stream is good") {
    wire w = co_await make_wire(4096);
    const std::size_t stuffed = co_await stuff(w.stream);
    for (int i = 0; i < 3; ++i) {
        auto none = co_await with_timeout(5ms, w.stream.send_all(bytes_of("never")));
        REQUIRE(none.has_error());
        CHECK(none.error() == sluice::error::timeout);
    }
    std::size_t got = 0;
    std::string end;
    peer_thread reader([&] {
        got = w.peer.recv_text(stuffed).size();
        end = w.peer.recv_all();
    });
    auto sent = co_await w.stream.send_all(bytes_of("after all"));
    CHECK(sent.has_value());
    auto ended = co_await w.stream.shutdown();
    CHECK(ended.has_value());
    co_await reader.finished();
    CHECK(got == stuffed);
    CHECK(end == "after all");
}

SLUICE_NET_TEST("send cancelled: half-way, all later sends fail with broken_send") {
    wire w = co_await make_wire(4096);
    auto half = co_await with_timeout(20ms, w.stream.send_all(much()));
    REQUIRE(half.has_error());
    CHECK(half.error() == sluice::error::timeout);
    auto later = co_await w.stream.send_all(bytes_of("x"));
    REQUIRE(later.has_error());
    CHECK(later.error() == sluice::error::broken_send);
    auto some = co_await w.stream.send(bytes_of("x"));
    CHECK(some.error() == sluice::error::broken_send);
    auto ended = co_await w.stream.shutdown();
    CHECK(ended.error() == sluice::error::broken_send);
    // Receiving goes on.
    CHECK(w.peer.send("hello"));
    auto chunk = co_await w.stream.recv();
    REQUIRE(chunk.has_value());
    CHECK(chunk->text() == "hello");
}

SLUICE_NET_TEST("send cancelled: half-way, those that wait behind fail with broken_send") {
    wire w = co_await make_wire(4096);
    boost::system::error_code first;
    std::vector<boost::system::error_code> behind(5);
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto half = co_await with_timeout(20ms, w.stream.send_all(much()));
            if (!half) first = half.error();
        });
        for (auto& each : behind)
            scope.spawn([&w, &each]() -> task<> {
                auto sent = co_await w.stream.send_all(bytes_of("x"));
                if (!sent) each = sent.error();
            });
        co_return;
    });
    CHECK(outcome.has_value());
    CHECK(first == sluice::error::timeout);
    for (const auto& e : behind) CHECK(e == sluice::error::broken_send);
}

SLUICE_NET_TEST("send cancelled: in the queue, the others go on as if it had never been") {
    wire w = co_await make_wire(4096);
    const std::size_t stuffed = co_await stuff(w.stream);
    std::vector<boost::system::error_code> ends(6);
    std::string got;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        for (std::size_t i = 0; i < ends.size(); ++i)
            scope.spawn([&, i]() -> task<> {
                const std::string text = "<" + std::to_string(i) + ">";
                // Every second one gives up: the first ones in flight, the later ones queued.
                const auto limit = i % 2 == 0 ? 20ms : 20'000ms;
                for (std::size_t n = 0; n < i; ++n) co_await sluice::yield();
                auto sent = co_await with_timeout(limit, w.stream.send_all(bytes_of(text)));
                if (!sent) ends[i] = sent.error();
            });
        static_cast<void>(co_await sluice::sleep_for(50ms));
        peer_thread reader([&] {
            CHECK(w.peer.recv_text(stuffed).size() == stuffed);
            got = w.peer.recv_text(9);
        });
        co_await reader.finished();
    });
    CHECK(outcome.has_value());
    CHECK(got == "<1><3><5>");
    for (std::size_t i = 0; i < ends.size(); ++i) {
        if (i % 2 == 0)
            CHECK(ends[i] == sluice::error::timeout);
        else
            CHECK_FALSE(ends[i].failed());
    }
    auto again = co_await w.stream.send_all(bytes_of("fine"));
    CHECK(again.has_value());
    CHECK(w.peer.recv_text(4) == "fine");
}

SLUICE_NET_TEST("send cancelled: a shutdown that waits its turn leaves the side open") {
    wire w = co_await make_wire(4096);
    const std::size_t stuffed = co_await stuff(w.stream);
    std::string got;
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&]() -> task<> {
            auto sent = co_await w.stream.send_all(bytes_of("one "));
            CHECK(sent.has_value());
        });
        co_await sluice::yield();  // the child starts in the next turn
        auto ended = co_await with_timeout(10ms, w.stream.shutdown());
        REQUIRE(ended.has_error());
        CHECK(ended.error() == sluice::error::timeout);
        peer_thread reader([&] {
            CHECK(w.peer.recv_text(stuffed).size() == stuffed);
            got = w.peer.recv_all();
        });
        auto sent = co_await w.stream.send_all(bytes_of("two"));
        CHECK(sent.has_value());
        auto really = co_await w.stream.shutdown();
        CHECK(really.has_value());
        co_await reader.finished();
    });
    CHECK(outcome.has_value());
    CHECK(got == "one two");
}

SLUICE_NET_TEST("send cancelled: racing completion, each message arrives whole or not at all") {
    wire w = co_await make_wire();
    std::vector<int> sent;
    static constexpr int rounds = 300;
    std::string all;
    peer_thread reader([&] { all = w.peer.recv_all(); });
    for (int i = 0; i < rounds; ++i) {
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&]() -> task<> {
                const std::string text = std::to_string(i) + "\n";
                auto done = co_await w.stream.send_all(bytes_of(text));
                if (done)
                    sent.push_back(i);
                else
                    CHECK(done.error() == boost::system::errc::operation_canceled);
            });
            for (int n = 0; n < i % 4; ++n) co_await sluice::yield();
            scope.request_stop();
        });
        CHECK(outcome.has_value());
    }
    auto ended = co_await w.stream.shutdown();
    CHECK(ended.has_value());
    co_await reader.finished();
    std::string expected;
    for (const int i : sent) expected += std::to_string(i) + "\n";
    CHECK(all == expected);
}

SLUICE_NET_TEST("send cancelled: the stream is closed by one task while others send") {
    wire w = co_await make_wire(4096);
    std::vector<boost::system::error_code> ends(4);
    auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
        for (auto& each : ends)
            scope.spawn([&w, &each]() -> task<> {
                auto sent = co_await w.stream.send_all(much());
                if (!sent) each = sent.error();
            });
        co_await sluice::testing::some_turns();
        co_await w.stream.close();
    });
    CHECK(outcome.has_value());
    for (const auto& e : ends) CHECK(e == boost::system::errc::operation_canceled);
}

TEST_SUITE_END();
