// SPDX-License-Identifier: Apache-2.0
// Once a pair of connections has warmed up, a message costs no allocation.

#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/wire.hpp"
#include "sluice/copy_bidirectional.hpp"
#include "sluice/stream_reader.hpp"
#include "support/allocation_count.hpp"
#include "support/sanitizers.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::reactor;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::testing::allocations;
using sluice::testing::bytes_of;
using sluice::testing::run_net;

namespace {

constexpr int messages = sluice::testing::under_sanitizer ? 10'000 : 100'000;
constexpr int warm_up = 2'000;

//! Sends and awaits the answer, `count` times; gives up at an error.
using exchange = task<int> (*)(tcp_stream&, int count);

task<int> with_slices(tcp_stream& stream, int count) {
    const std::string message(100, 'm');
    for (int i = 0; i < count; ++i) {
        auto sent = co_await stream.send_all(bytes_of(message));
        if (!sent) co_return i;
        std::size_t got = 0;
        while (got < message.size()) {
            auto chunk = co_await stream.recv();
            if (!chunk) co_return i;
            got += chunk->size();
        }
    }
    co_return count;
}

task<int> with_copies_and_timeouts(tcp_stream& stream, int count) {
    std::string message(1000, 'm');
    for (int i = 0; i < count; ++i) {
        auto sent = co_await sluice::with_timeout(10s, stream.send_all(bytes_of(message)));
        if (!sent) co_return i;
        std::size_t got = 0;
        while (got < message.size()) {
            const auto rest = std::as_writable_bytes(std::span(message)).subspan(got);
            auto n = co_await sluice::with_timeout(10s, stream.recv_into(rest));
            if (!n) co_return i;
            got += *n;
        }
    }
    co_return count;
}

task<int> with_pieces(tcp_stream& stream, int count) {
    const std::string part(50, 'p');
    const std::vector<std::span<const std::byte>> pieces(5, bytes_of(part));
    for (int i = 0; i < count; ++i) {
        auto sent = co_await stream.send_all(pieces);
        if (!sent) co_return i;
        std::size_t got = 0;
        while (got < 250) {
            auto chunk = co_await stream.recv();
            if (!chunk) co_return i;
            got += chunk->size();
        }
    }
    co_return count;
}

task<int> with_reader(tcp_stream& stream, int count) {
    const std::string message = "a line of text\n";
    sluice::stream_reader reader(stream);
    for (int i = 0; i < count; ++i) {
        auto sent = co_await stream.send_all(bytes_of(message));
        if (!sent) co_return i;
        auto line = co_await reader.recv_until("\n", 100);
        if (!line) co_return i;
    }
    co_return count;
}

//! Answers come from the other end of the connection, or from behind a copy to another one.
void check_allocations(exchange talk, int count, bool copied = false) {
    std::uint64_t used = 0;
    std::size_t reserved = 0;
    run_net([&](reactor&) -> task<> {
        auto pair = co_await sluice::testing::make_pair();
        auto behind = co_await sluice::testing::make_pair();
        tcp_stream& answers = copied ? behind.right : pair.right;
        auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&]() -> task<> {
                for (;;) {
                    auto chunk = co_await answers.recv();
                    if (!chunk) break;
                    auto sent = co_await answers.send_all(std::move(*chunk));
                    if (!sent) break;
                }
                co_await answers.close();
            });
            if (copied)
                scope.spawn([&]() -> task<> {
                    const auto ended = co_await copy_bidirectional(pair.right, behind.left);
                    CHECK(ended.in_order());
                });
            const int warm = co_await talk(pair.left, warm_up);
            CHECK(warm == warm_up);
            const auto reserved_before = sluice::detail::frame_pool::current->reserved_bytes();
            const auto before = allocations();
            const int done = co_await talk(pair.left, count);
            CHECK(done == count);
            used = allocations() - before;
            reserved = sluice::detail::frame_pool::current->reserved_bytes() - reserved_before;
            co_await pair.left.close();
        });
        CHECK(outcome.has_value());
    });
    // Of the task, of vectors that grow, and of what lies across two slices.
    CHECK(used <= (copied ? 256 : 64));
    CHECK(reserved <= std::size_t{64} * 1024);  // a slab at most: pieces that come late queue up
}

}  // namespace

TEST_SUITE_BEGIN("loopback.memory");

TEST_CASE("allocations: none for a message, by slices") {
    check_allocations(with_slices, messages);
}

TEST_CASE("allocations: none for a message, by copies and under timeouts") {
    check_allocations(with_copies_and_timeouts, messages / 4);
}

TEST_CASE("allocations: none for a message of several pieces") {
    check_allocations(with_pieces, messages / 4);
}

TEST_CASE("allocations: none for a line of a stream_reader") {
    check_allocations(with_reader, messages / 4);
}

TEST_CASE("allocations: none for a message that is copied to another connection and back") {
    check_allocations(with_slices, messages / 4, true);
}

TEST_SUITE_END();
