// SPDX-License-Identifier: Apache-2.0
// What a connection takes that waits for its next message: docs/performance.md, "Idle connections".

#include <chrono>
#include <string>

#include "loopback/books.hpp"
#include "loopback/wire.hpp"
#include "net/connection.hpp"
#include "support/sanitizers.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::reactor;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::detail::frame_pool;
using sluice::testing::bytes_of;
using sluice::testing::run_net;

namespace detail = sluice::detail;

// What is kept for every connection, or stands in the frame of its coroutine once for each await.
static_assert(sizeof(detail::connection) <= 312);
static_assert(sizeof(detail::child_task::promise_type) <= 128);
static_assert(sizeof(detail::task_promise<void>) <= 64);
static_assert(sizeof(detail::waiter) <= 32);
static_assert(sizeof(detail::await_adaptor<detail::recv_awaiter>) <= 16);
static_assert(sizeof(detail::recv_awaiter) <= 40);
static_assert(sizeof(detail::send_awaiter<sluice::rx_buffer>) <= 96);
static_assert(sizeof(detail::timeout_awaiter<detail::recv_awaiter>) <=
              sizeof(detail::recv_awaiter) + 40);

namespace {

//! As in examples/echo.
struct server {
    std::chrono::nanoseconds idle = 1h;
    int messages = 0;

    task<> echo(tcp_stream conn) {
        while (auto chunk = co_await with_timeout(idle, [&] { return conn.recv(); })) {
            ++messages;
            auto sent =
                co_await with_timeout(idle, [&] { return conn.send_all(std::move(*chunk)); });
            if (!sent) break;
        }
    }
};

std::size_t block_of(const detail::promise_base& p) {
    return frame_pool::usable_bytes(detail::frame_of(p)) + sizeof(void*);
}

}  // namespace

TEST_SUITE_BEGIN("loopback.memory");

TEST_CASE("an idle connection of an echo server: its bytes in the frame pool") {
    std::size_t child = 0;
    std::size_t handler = 0;
    run_net([&](reactor&) -> task<> {
        auto pair = co_await sluice::testing::make_pair();
        server here;
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            auto serve = [&](tcp_stream conn) { return here.echo(std::move(conn)); };
            scope.spawn(serve, std::move(pair.right));
            auto sent = co_await pair.left.send_all(bytes_of("x"));
            REQUIRE(sent.has_value());
            auto answer = co_await pair.left.recv();
            REQUIRE(answer.has_value());
            // The last child is the connection's.
            scope.for_each_child([&](const detail::promise_base& p) {
                child = block_of(p);
                handler = block_of(p.record().awaited().as_child());
            });
            co_await pair.left.close();
        });
        CHECK(outcome.has_value());
        CHECK(here.messages == 1);
    });
    const std::size_t all = child + handler + sizeof(detail::connection) + sizeof(void*);
    MESSAGE(child << " + " << handler << " + connection = " << all);
    CHECK(child > 0);
    CHECK(handler > 0);
#if !defined(__clang__)  // which lays out frames in its own way, and not without optimisation
    CHECK(all <= 1024);
#endif
}

TEST_SUITE_END();
