// SPDX-License-Identifier: Apache-2.0
#include "sluice/test.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <string>

#include "sluice/listener.hpp"
#include "sluice/this_coro.hpp"
#include "sluice/timeout.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::connected_pair;
using test::controlled_environment;
using test::run;
using test::stream_pair;

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

bool body_ran = false;

SLUICE_TEST_CASE("test: the body of a test case is a coroutine") {
    co_await yield();
    body_ran = true;
}

TEST_CASE("test: what escapes from the coroutine fails the test, and ends what it spawned") {
    CHECK(body_ran);
    CHECK_THROWS_WITH(run([](reactor& home) -> task<> {
                          home.spawn([] { return sleep_for(1h); });
                          co_await yield();
                          throw std::runtime_error("escaped");
                      }),
                      "escaped");
}

TEST_CASE("test: a reactor that can't be is an exception with the cause") {
    run([]() -> task<> {
        CHECK_THROWS_AS(test::make_reactor(), std::runtime_error);  // this thread has one
        co_return;
    });
    reactor_stats open;
    open.live_timers = 2;
    CHECK_THROWS_WITH(test::require_balanced_books(open),
                      "a reactor ended with 0 operations, 0 frames and 2 timers");
}

SLUICE_TEST_CASE("test: a connected pair carries bytes both ways, and ends") {
    reactor& home = co_await this_coro::reactor();
    stream_pair pair = connected_pair(home).value();
    static_cast<void>(co_await pair.left.send_all(bytes_of("there")));
    auto there = co_await pair.right.recv();
    REQUIRE(there.has_value());
    CHECK(there->text() == "there");
    static_cast<void>(co_await pair.right.send_all(bytes_of("back")));
    co_await pair.right.close();
    auto back = co_await pair.left.recv();
    REQUIRE(back.has_value());
    CHECK(back->text() == "back");
    auto end = co_await pair.left.recv();
    CHECK(end.error() == error::eof);
}

TEST_CASE("test: registered descriptors have no connected pair") {
    test::run_options options;
    options.reactor.registered_descriptors = true;
    run(
        [](reactor& home) -> task<> {
            auto pair = connected_pair(home);
            if (!pair) CHECK(pair.error() == errno_error(EOPNOTSUPP));
            co_return;
        },
        options);
}

TEST_CASE("test: hours pass in no time, in order") {
    controlled_environment world;
    const auto began = std::chrono::steady_clock::now();
    std::string order;
    run(
        [&](reactor& home) -> task<> {
            const auto start = home.now();
            home.spawn([&]() -> task<> {
                static_cast<void>(co_await sleep_for(3h));
                order += '3';
            });
            home.spawn([&]() -> task<> {
                static_cast<void>(co_await sleep_for(1h));
                order += '1';
            });
            static_cast<void>(co_await sleep_for(2h));
            order += '2';
            CHECK(home.now() - start == 2h);
        },
        {.environment = &world});
    CHECK(order == "123");
    CHECK(std::chrono::steady_clock::now() - began < 1h);
}

TEST_CASE("test: time stands still while there are bytes to take") {
    controlled_environment world;
    run(
        [](reactor& home) -> task<> {
            stream_pair pair = connected_pair(home).value();
            const auto start = home.now();
            for (int i = 0; i < 100; ++i) {
                static_cast<void>(co_await pair.left.send_all(bytes_of("x")));
                auto got = co_await with_timeout(1ns, pair.right.recv());
                REQUIRE(got.has_value());
            }
            CHECK(home.now() == start);
            auto late = co_await with_timeout(24h, pair.right.recv());
            CHECK(late.error() == error::timeout);
            CHECK(home.now() - start == 24h);
        },
        {.environment = &world});
}

TEST_CASE("test: the clock can be moved by hand") {
    controlled_environment world;
    run(
        [&](reactor& home) -> task<> {
            const auto start = home.now();
            world.advance(5min);
            co_await yield();
            CHECK(home.now() - start == 5min);
        },
        {.environment = &world});
}

// Sends a byte there and back; gives the error that it met.
task<boost::system::error_code> ping(stream_pair& pair) {
    auto sent = co_await pair.left.send_all(bytes_of("x"));
    if (!sent) co_return sent.error();
    auto got = co_await pair.right.recv();
    if (!got) co_return got.error();
    auto back = co_await pair.right.send_all(std::move(*got));
    if (!back) co_return back.error();
    auto end = co_await pair.left.recv();
    co_return end ? boost::system::error_code{} : end.error();
}

TEST_CASE("test: the n-th operation fails with the error asked for") {
    controlled_environment world;
    run(
        [&](reactor& home) -> task<> {
            stream_pair pair = connected_pair(home).value();
            const auto before = world.operations();
            world.fail_at(3, ECONNRESET);  // send, receive, send
            const auto met = co_await ping(pair);
            CHECK(met == errno_error(ECONNRESET));
            CHECK(world.operations() - before >= 3);
            stream_pair fresh = connected_pair(home).value();
            const auto none = co_await ping(fresh);
            CHECK_FALSE(none);
        },
        {.environment = &world});
}

TEST_CASE("test: every operation fails once") {
    std::string seen;
    const auto failures = test::run_with_each_failure(ECONNRESET, [&](reactor& home) -> task<> {
        stream_pair pair = connected_pair(home).value();
        const auto met = co_await ping(pair);
        CHECK((!met || met == errno_error(ECONNRESET)));
        seen += met ? 'f' : '.';
    });
    CHECK(failures == 4);  // send, receive, send, receive
    CHECK(seen == "ffff.");
}

}  // namespace
}  // namespace sluice
