// SPDX-License-Identifier: Apache-2.0
// Combinators over real connections: what a loser leaves, and streams on the wrong thread.

#include <span>
#include <string>
#include <thread>
#include <utility>

#include "loopback/books.hpp"
#include "loopback/wire.hpp"
#include "runtime/home_check.hpp"
#include "sluice/idle_timer.hpp"
#include "sluice/or_return.hpp"
#include "sluice/when_all.hpp"
#include "sluice/when_any.hpp"
#include "support/child.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using sluice::idle_timer;
using sluice::nursery;
using sluice::or_return;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::tcp_stream;
using sluice::when_all;
using sluice::when_any;
using sluice::with_nursery;
using sluice::yield;
using sluice::testing::make_pair;
using sluice::testing::make_wire;

namespace {

task<std::string> text_of(tcp_stream& stream) {
    auto chunk = co_await stream.recv();
    if (!chunk) co_return chunk.error().message();
    co_return std::string(chunk->text());
}

}  // namespace

TEST_SUITE_BEGIN("loopback.structure");

SLUICE_NET_TEST("when_any: a receive that loses leaves its bytes") {
    auto w = co_await make_wire();
    auto raced = co_await when_any(w.stream.recv(), sleep_for(1ms));
    CHECK(raced.index == 1);
    CHECK_FALSE(raced.has<0>());
    CHECK(w.peer.send("later"));
    const auto text = co_await text_of(w.stream);
    CHECK(text == "later");
}

SLUICE_NET_TEST("when_any: of two receives that are woken in one turn one keeps its bytes") {
    for (int round = 0; round < 50; ++round) {
        auto a = co_await make_wire();
        auto b = co_await make_wire();
        std::string got;
        int winner = -1;
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&]() -> task<> {
                auto raced = co_await when_any(a.stream.recv(), b.stream.recv());
                winner = static_cast<int>(raced.index);
                CHECK(raced.has<0>() != raced.has<1>());
                auto& chunk = raced.index == 0 ? raced.get<0>() : raced.get<1>();
                got = chunk->text();
            });
            co_await yield();
            co_await yield();
            CHECK(a.peer.send("bytes of a"));
            CHECK(b.peer.send("bytes of b"));
        });
        CHECK(done.has_value());
        REQUIRE(winner >= 0);
        CHECK(got == (winner == 0 ? "bytes of a" : "bytes of b"));
        const auto kept = co_await text_of(winner == 0 ? b.stream : a.stream);
        CHECK(kept == (winner == 0 ? "bytes of b" : "bytes of a"));
    }
}

SLUICE_NET_TEST("when_any: a task that received although it lost hands over what it has") {
    auto w = co_await make_wire();
    bool received = false;
    const auto reads = [&]() -> task<result<std::string>> {
        auto chunk = co_await or_return(w.stream.recv());
        received = true;
        std::string text(chunk.text());
        for (int i = 0; i < 5; ++i) co_await yield();  // the stop comes here
        co_return text;
    };
    const auto sees_it = [&]() -> task<> {
        while (!received) co_await yield();
    };
    CHECK(w.peer.send("taken"));
    auto raced = co_await when_any(reads(), sees_it());
    CHECK(raced.index == 1);
    REQUIRE(raced.has<0>());
    CHECK(*raced.get<0>() == "taken");
}

SLUICE_NET_TEST("when_any: a send that loses and went out all the same is reported") {
    auto pair = co_await make_pair();
    const std::string text = "went out";
    auto raced = co_await when_any(pair.left.send_all(std::as_bytes(std::span(text))), yield());
    CHECK(raced.index == 1);
    const bool reported = raced.has<0>() && raced.get<0>().has_value();
    pair.left = {};
    const auto got = co_await text_of(pair.right);
    CHECK((got == text) == reported);
}

SLUICE_NET_TEST("when_all: both directions of two streams at once") {
    auto pair = co_await make_pair();
    const std::string ping = "ping";
    const std::string pong = "pong";
    auto all = co_await when_all(pair.left.send_all(std::as_bytes(std::span(ping))),
                                 pair.right.send_all(std::as_bytes(std::span(pong))),
                                 text_of(pair.right), text_of(pair.left));
    CHECK(std::get<0>(all).has_value());
    CHECK(std::get<1>(all).has_value());
    CHECK(std::get<2>(all) == "ping");
    CHECK(std::get<3>(all) == "pong");
}

SLUICE_NET_TEST("idle_timer: both sides of a connection, and the bytes that come after it") {
    auto w = co_await make_wire();
    idle_timer idle(5ms);
    auto silent = co_await idle.guard(w.stream.recv());
    REQUIRE(silent.has_error());
    CHECK(silent.error() == sluice::error::timeout);
    CHECK(w.peer.send("late"));
    idle.touch();
    const auto text = co_await text_of(w.stream);
    CHECK(text == "late");
}

SLUICE_NET_TEST("or_return: the end of a stream ends the task") {
    auto w = co_await make_wire();
    std::string got;
    const auto read_all = [&]() -> task<result<void>> {
        for (;;) {
            auto chunk = co_await or_return(w.stream.recv());
            got += chunk.text();
        }
    };
    CHECK(w.peer.send("all of it"));
    w.peer.shutdown_write();
    const auto ended = co_await read_all();
    REQUIRE(ended.has_error());
    CHECK(ended.error() == sluice::error::eof);
    CHECK(got == "all of it");
}

TEST_CASE("home check: a stream that is used on another reactor names both") {
    if (!sluice::detail::home_is_checked)
        return sluice::testing::report_skip("the library is built without home_checks");
    sluice::testing::expect_death(
        [] {
            const auto zero = sluice::testing::make_reactor({}, 0);
            sluice::testing::stream_pair pair;
            zero->spawn([&]() -> task<> { pair = co_await make_pair(); });
            zero->run_until_idle();
            std::thread([stream = std::move(pair.left)]() mutable {
                const auto one = sluice::testing::make_reactor({}, 1);
                one->spawn([&]() -> task<> { static_cast<void>(co_await stream.recv()); });
                one->run_until_idle();
            }).join();
        },
        "sluice: fatal: a tcp_stream of reactor 0 was used on the thread of reactor 1");
}

TEST_SUITE_END();
