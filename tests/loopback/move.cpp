// SPDX-License-Identifier: Apache-2.0
// Connections that move between reactors while bytes flow.

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "loopback/pattern.hpp"
#include "loopback/plain_socket.hpp"
#include "loopback/watchdog.hpp"
#include "sluice/net_stats.hpp"
#include "sluice/on.hpp"
#include "sluice/service.hpp"
#include "sluice/tcp_stream.hpp"
#include "sluice/timeout.hpp"
#include "support/cores.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::nursery;
using sluice::on;
using sluice::reactor;
using sluice::result;
using sluice::rx_buffer;
using sluice::service;
using sluice::sleep_for;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::cores;
using sluice::testing::plain_listener;
using sluice::testing::plain_socket;
using sluice::testing::run_service;
using sluice::testing::watchdog;

namespace {

unsigned here() { return reactor::current()->index(); }

sluice::endpoint loopback_any() { return sluice::endpoint::parse("127.0.0.1:0").value(); }

//! A stream of the calling reactor, and its blocking peer.
task<std::pair<tcp_stream, plain_socket>> connected() {
    plain_listener listener(loopback_any());
    auto stream = co_await tcp_stream::connect(listener.local());
    co_return std::pair(std::move(stream).value(), listener.accept());
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

struct tally {
    std::atomic<int> moves{0};
    std::atomic<int> kept{0};          // moves that were cancelled
    std::atomic<int> with_pending{0};  // bytes that nobody had taken went along
};

enum class mode { plain, hurried };

//! Echoes some chunks where the stream is, then moves it. Ends with error::eof when all is done.
task<result<tcp_stream>> leg(tcp_stream s, unsigned seed, mode how, tally* counts) {
    std::minstd_rand engine(seed + 1);
    const auto random = [&engine] { return static_cast<unsigned>(engine()); };
    for (unsigned i = random() % 6; i != 0; --i) {
        auto chunk = co_await s.recv();
        if (!chunk) {
            if (chunk.error() == sluice::error::eof) static_cast<void>(co_await s.shutdown());
            co_await s.close();
            co_return chunk.error();
        }
        auto sent = co_await s.send_all(std::move(*chunk));
        if (!sent) co_return sent.error();
    }
    if (random() % 2 == 0) static_cast<void>(co_await sleep_for(50us));  // lets bytes wait
    if (s.pending() != 0) ++counts->with_pending;
    const unsigned next = (here() + 1 + random() % 2) % 3;
    result<void> moved;
    if (how == mode::hurried)
        moved = co_await with_timeout(std::chrono::microseconds(random() % 2 * (random() % 60)),
                                      s.move_to(next));
    else
        moved = co_await s.move_to(next);
    ++(moved ? counts->moves : counts->kept);
    if (!moved && moved.error() != sluice::error::timeout) co_return moved.error();
    co_return s;
}

void echo_while_moving(mode how) {
    constexpr std::size_t total = 24U << 20U;
    const watchdog limit;
    auto options = cores(3);
    options.reactor.recv_buffers = 64;
    options.reactor.recv_buffer_size = 16 * 1024;
    service s(options);
    tally counts;
    run_service(s, [&]() -> task<> {
        auto both = co_await connected();
        const sluice::testing::pattern bytes(77);
        sluice::testing::pattern_reader checked(77);
        std::thread sender([&] {
            for (std::size_t at = 0; at < total;) {
                const auto part = bytes.bytes(at, std::min<std::size_t>(30'000, total - at));
                if (!both.second.send(part)) break;
                at += part.size();
            }
            both.second.shutdown_write();
        });
        std::thread receiver([&] {
            std::vector<std::byte> got(20'000);
            for (auto n = both.second.recv(got); n > 0; n = both.second.recv(got))
                checked.take(std::span(got).first(static_cast<std::size_t>(n)));
        });
        unsigned where = 0;
        tcp_stream stream = std::move(both.first);
        for (unsigned seed = 0;; ++seed) {
            auto next = co_await on(
                where,
                [&, seed](tcp_stream t) -> task<result<tcp_stream>> {
                    return leg(std::move(t), seed, how, &counts);
                },
                std::move(stream));
            if (!next) {
                CHECK(next.error() == sluice::error::eof);
                break;
            }
            stream = std::move(*next);
            where = stream.home().index();
        }
        sender.join();
        receiver.join();
        CHECK(checked.taken() == total);
        CHECK(checked.intact());
    });
    // On a busy machine chunks are fewer and bigger: 96 at least.
    CHECK(counts.moves.load() > (how == mode::plain ? 30 : 5));
    CHECK(counts.with_pending.load() > 5);
    MESSAGE(counts.moves.load() << " moves, " << counts.with_pending.load()
                                << " with bytes that waited, " << counts.kept.load()
                                << " cancelled");
    if (how == mode::hurried) CHECK(counts.kept.load() > 0);
}

}  // namespace

TEST_SUITE_BEGIN("loopback.move");

TEST_CASE("move: under traffic both ways, every byte arrives once and in order") {
    echo_while_moving(mode::plain);
}

TEST_CASE("move: cancelled at all times, every byte arrives once and in order") {
    echo_while_moving(mode::hurried);
}

TEST_CASE("move: what waits goes along, and the end of the stream too; books balance") {
    const watchdog limit;
    service s(cores(2));
    const auto report = run_service(s, []() -> task<> {
        auto both = co_await connected();
        tcp_stream& stream = both.first;
        CHECK(both.second.send("abc"));
        auto first = co_await stream.recv();
        CHECK(first->text() == "abc");
        CHECK(both.second.send("defghi"));
        both.second.shutdown_write();
        while (stream.pending() < 6) static_cast<void>(co_await sleep_for(1ms));
        static_cast<void>(co_await sleep_for(5ms));  // the end, too
        auto own = co_await stream.move_to(0);
        CHECK(own.has_value());
        CHECK(stream.pending() == 6);
        auto moved = co_await stream.move_to(1);
        CHECK(moved.has_value());
        CHECK(sluice::net_stats_of(*reactor::current()).open == 0);
        CHECK(sluice::net_stats_of(*reactor::current()).moved_out == 1);
        auto outcome = co_await on(
            1,
            [](tcp_stream there) -> task<result<std::string>> {
                CHECK(sluice::net_stats_of(*reactor::current()).open == 1);
                CHECK(sluice::net_stats_of(*reactor::current()).moved_in == 1);
                auto rest = co_await there.recv();
                if (!rest) co_return rest.error();
                std::string text(rest->text());
                auto end = co_await there.recv();
                CHECK(end.error() == sluice::error::eof);
                auto sent = co_await there.send_all(bytes_of("bye"));
                CHECK(sent.has_value());
                co_await there.close();
                co_return text;
            },
            std::move(stream));
        CHECK(outcome.value() == "defghi");
        CHECK(both.second.recv_all() == "bye");
        const auto net = sluice::net_stats_of(*reactor::current());
        CHECK(net.buffers_lent == 1);  // `first`
    });
    CHECK(report.clean());
}

TEST_CASE("move: cancelled before it started, busy, without a target: the stream stays") {
    const watchdog limit;
    service s(cores(2));
    run_service(s, []() -> task<> {
        auto both = co_await connected();
        tcp_stream& stream = both.first;
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            n.request_stop();
            auto moved = co_await stream.move_to(1);
            CHECK(moved.error() == cancelled_error());
        }));
        bool caught = false;
        try {
            static_cast<void>(co_await stream.move_to(2));
        } catch (const std::out_of_range&) {
            caught = true;
        }
        CHECK(caught);
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&]() -> task<> {
                auto chunk = co_await stream.recv();
                CHECK(chunk->text() == "hello");
            });
            static_cast<void>(co_await sleep_for(1ms));
            auto moved = co_await stream.move_to(1);
            CHECK(moved.error() == boost::system::errc::device_or_resource_busy);
            CHECK(both.second.send("hello"));
        }));
        CHECK(both.second.send("again"));
        auto chunk = co_await stream.recv();
        CHECK(chunk->text() == "again");
    });
}

TEST_CASE("move: waits for sends; cancelled while they are stuck, all goes on here") {
    const watchdog limit;
    static constexpr std::size_t size = 8U << 20U;
    service s(cores(2));
    run_service(s, []() -> task<> {
        auto both = co_await connected();
        tcp_stream& stream = both.first;
        const auto bytes = sluice::testing::pattern(5).bytes(0, size);
        std::vector<std::byte> got(size);
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&]() -> task<> {
                auto sent = co_await stream.send_all(bytes);
                CHECK(sent.value() == size);
            });
            static_cast<void>(co_await sleep_for(2ms));
            auto late = co_await with_timeout(5ms, stream.move_to(1));
            CHECK(late.error() == sluice::error::timeout);
            CHECK(both.second.send("x"));
            auto chunk = co_await stream.recv();
            CHECK(chunk->text() == "x");
            std::thread reader([&] { CHECK(both.second.recv_exact(got)); });
            auto moved = co_await stream.move_to(1);  // waits for the rest
            CHECK(moved.has_value());
            reader.join();
        }));
        CHECK(got == bytes);
        auto outcome = co_await on(
            1,
            [](tcp_stream there) -> task<result<void>> {
                auto sent = co_await there.send_all(bytes_of("y"));
                if (!sent) co_return sent.error();
                co_return result<void>{};
            },
            std::move(stream));
        CHECK(outcome.has_value());
        CHECK(both.second.recv_text(1) == "y");
    });
}

TEST_SUITE_END();
