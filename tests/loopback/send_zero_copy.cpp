// SPDX-License-Identifier: Apache-2.0
// Zero-copy sends have two ends: accepted, when the coroutine goes on, and released, when the peer
// has the bytes. Loopback copies, but not before the peer makes room: what it has not taken lies in
// the sender's memory, so holds are as long here as anywhere.

#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"
#include "loopback/zero_copy.hpp"
#include "sluice/buffer_chain.hpp"
#include "sluice/shielded.hpp"

using namespace std::chrono_literals;
using sluice::buffer_chain;
using sluice::net_stats_of;
using sluice::nursery;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rx_buffer;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::buffer_of;
using sluice::testing::bytes_of;
using sluice::testing::holding_wire;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::peer_thread;
using sluice::testing::run_net;
using sluice::testing::run_zero_copy;
using sluice::testing::take_all;
using sluice::testing::until;
using sluice::testing::wire;
using sluice::testing::zero_copy_options;

namespace {

constexpr std::size_t large = 256 * 1024;  // more than the peer of a holding_wire takes unread

//! Sends `size` bytes of the pattern in one buffer.
task<> send_pattern(wire& w, std::size_t size) {
    auto sent = co_await w.stream.send_all(buffer_of(1, 0, size));
    REQUIRE(sent.has_value());
    CHECK(*sent == size);
}

task<> all_released(reactor& home) {
    CHECK(co_await until([&] { return net_stats_of(home).held_sends == 0; }));
    CHECK(net_stats_of(home).held_bytes == 0);
}

}  // namespace

TEST_SUITE_BEGIN("loopback.zero_copy");

SLUICE_ZERO_COPY_TEST("zero copy: accepted long before it is released") {
    const auto outcome = run_zero_copy([](reactor& home) -> task<> {
        wire w = co_await holding_wire();
        co_await send_pattern(w, large);
        CHECK(net_stats_of(home).held_sends == 1);
        CHECK(net_stats_of(home).held_bytes == large);
        co_await sluice::testing::some_turns();
        CHECK(net_stats_of(home).held_sends == 1);
        auto behind = co_await w.stream.send_all(bytes_of("and on"));  // nothing waits for it
        CHECK(behind.has_value());
        peer_thread reader([&] {
            CHECK(take_all(w.peer, 1, large));
            CHECK(w.peer.recv_text(6) == "and on");
        });
        co_await reader.finished();
        co_await all_released(home);
    });
    CHECK(outcome.net.zero_copy_sends == 1);
    CHECK(outcome.net.sends == 2);
    CHECK(outcome.net.bytes_out == large + 6);
}

SLUICE_ZERO_COPY_TEST("zero copy: buffers of every size, and of several at once, byte by byte") {
    run_zero_copy([](reactor& home) -> task<> {
        wire w = co_await make_wire();
        std::uint64_t total = 0;
        const std::vector<std::size_t> sizes{1,     2,      4095,   4096,    4097,     10'000,
                                             65535, 65'536, 65'537, 300'000, 5'000'000};
        for (const std::size_t size : sizes) total += 2 * size;
        peer_thread reader([&] { CHECK(take_all(w.peer, 1, total)); });
        std::uint64_t at = 0;
        for (const std::size_t size : sizes) {
            CAPTURE(size);
            auto whole = co_await w.stream.send_all(buffer_of(1, at, size));
            CHECK(whole.value() == size);
            at += size;
            buffer_chain pieces;
            for (std::size_t left = size, i = 1; left != 0; ++i) {
                const std::size_t piece = std::min(left, i % 7 == 0 ? 20'000 : 997 * i);
                pieces.append(buffer_of(1, at, piece));
                at += piece;
                left -= piece;
            }
            auto parts = co_await w.stream.send_all(std::move(pieces));
            CHECK(parts.value() == size);
        }
        co_await reader.finished();
        co_await all_released(home);
        // A reader that is slow leaves so much in the kernel that what comes next is copied.
        CHECK(net_stats_of(home).zero_copy_sends + net_stats_of(home).held_limit_hit >=
              2 * sizes.size());
        CHECK(net_stats_of(home).zero_copy_copied > 0);
    });
}

SLUICE_ZERO_COPY_TEST("zero copy: hundreds of small buffers, which are more than one request") {
    run_zero_copy([](reactor& home) -> task<> {
        wire w = co_await make_wire();
        static constexpr std::size_t count = 500;
        peer_thread reader([&] { CHECK(take_all(w.peer, 1, count * 1000)); });
        buffer_chain pieces;
        for (std::size_t i = 0; i < count; ++i) pieces.append(buffer_of(1, i * 1000, 1000));
        auto sent = co_await w.stream.send_all(std::move(pieces));
        CHECK(sent.value() == count * 1000);
        CHECK(net_stats_of(home).zero_copy_sends >= count / 64);
        co_await reader.finished();
    });
}

SLUICE_ZERO_COPY_TEST("zero copy: what is received goes out again from where it lies") {
    const auto outcome = run_zero_copy([](reactor& home) -> task<> {
        wire in = co_await make_wire();
        wire out = co_await make_wire();
        static constexpr std::size_t total = 8 << 20;
        peer_thread sender([&] {
            CHECK(in.peer.send(pattern(5).bytes(0, total)));
            in.peer.shutdown_write();
        });
        peer_thread reader([&] { CHECK(take_all(out.peer, 5, total)); });
        for (;;) {
            auto chunk = co_await in.stream.recv();
            if (!chunk) break;
            auto sent = co_await out.stream.send_all(std::move(*chunk));
            REQUIRE(sent.has_value());
        }
        co_await sender.finished();
        co_await reader.finished();
        co_await all_released(home);
    });
    CHECK(outcome.net.zero_copy_sends > 0);
    CHECK(outcome.net.fixed_regions == 1);  // the receive buffers, registered with this ring
    CHECK(outcome.net.fixed_refused == 0);
}

SLUICE_ZERO_COPY_TEST("zero copy: a request has one fixed buffer, or none") {
    auto options = zero_copy_options();
    options.zero_copy_send_from = 3000;
    struct mix {
        std::size_t received;  // bytes of provided buffers, then
        std::size_t own;       // of the heap
        std::uint64_t requests;
        std::uint64_t regions;
    };
    for (const mix m : {mix{4000, 4000, 2, 1}, mix{1000, 4000, 1, 0}, mix{4000, 1000, 2, 1}}) {
        CAPTURE(m.received);
        CAPTURE(m.own);
        const auto outcome = run_zero_copy(
            [m](reactor&) -> task<> {
                wire w = co_await make_wire();
                CHECK(w.peer.send(pattern(1).bytes(0, m.received)));
                buffer_chain both;
                while (both.size() < m.received) {
                    auto chunk = co_await w.stream.recv();
                    REQUIRE(chunk.has_value());
                    both.append(std::move(*chunk));
                }
                both.append(buffer_of(1, m.received, m.own));
                auto sent = co_await w.stream.send_all(std::move(both));
                CHECK(sent.value() == m.received + m.own);
                peer_thread reader([&] { CHECK(take_all(w.peer, 1, m.received + m.own)); });
                co_await reader.finished();
            },
            options);
        CHECK(outcome.net.sends == m.requests);
        CHECK(outcome.net.zero_copy_refused == 0);
        CHECK(outcome.net.fixed_regions == m.regions);
    }
}

SLUICE_ZERO_COPY_TEST("zero copy: only from the size on that the option names, and never with 0") {
    for (const std::uint32_t from : {0U, 1000U}) {
        auto options = zero_copy_options();
        options.zero_copy_send_from = from;
        const auto outcome = run_zero_copy(
            [from](reactor& home) -> task<> {
                wire w = co_await make_wire();
                peer_thread reader([&] { CHECK(take_all(w.peer, 1, 2999)); });
                auto less = co_await w.stream.send_all(buffer_of(1, 0, 999));
                CHECK(less.has_value());
                CHECK(net_stats_of(home).zero_copy_sends == 0);
                auto enough = co_await w.stream.send_all(buffer_of(1, 999, 1000));
                CHECK(enough.has_value());
                CHECK(net_stats_of(home).zero_copy_sends == (from == 0 ? 0 : 1));
                const auto mine = pattern(1).bytes(1999, 1000);  // borrowed: always a copy
                auto copied = co_await w.stream.send_all(mine);
                CHECK(copied.has_value());
                CHECK(net_stats_of(home).zero_copy_sends == (from == 0 ? 0 : 1));
                co_await reader.finished();
            },
            options);
        CHECK(outcome.net.held_limit_hit == 0);
    }
}

SLUICE_ZERO_COPY_TEST("zero copy: small buffers of one turn add up, in order with what is copied") {
    auto options = zero_copy_options();
    options.zero_copy_send_from = 3000;
    const auto outcome = run_zero_copy(
        [](reactor&) -> task<> {
            wire w = co_await make_wire();
            auto all = co_await with_nursery([&](nursery& scope) -> task<> {
                for (std::uint64_t i = 0; i < 10; ++i)
                    scope.spawn([&w, i]() -> task<> {
                        auto sent = co_await w.stream.send_all(buffer_of(1, i * 1000, 1000));
                        CHECK(sent.has_value());
                    });
                scope.spawn([&w]() -> task<> {
                    const auto mine = pattern(1).bytes(10'000, 10);
                    auto sent = co_await w.stream.send_all(mine);
                    CHECK(sent.has_value());
                });
                scope.spawn([&w]() -> task<> {
                    auto sent = co_await w.stream.send_all(buffer_of(1, 10'010, 5000));
                    CHECK(sent.has_value());
                });
                co_return;
            });
            CHECK(all.has_value());
            peer_thread reader([&] { CHECK(take_all(w.peer, 1, 15'010)); });
            co_await reader.finished();
        },
        options);
    CHECK(outcome.net.sends == 3);  // the ten; the span; the large one
    CHECK(outcome.net.sends_joined == 9);
    CHECK(outcome.net.zero_copy_sends == 2);
}

SLUICE_ZERO_COPY_TEST("zero copy: a connection gives it up when the kernel says that it copies") {
    auto options = zero_copy_options();
    options.zero_copy_send_despite_copies = false;
    const auto outcome = run_zero_copy(
        [](reactor& home) -> task<> {
            for (int connection = 1; connection <= 2; ++connection) {
                wire w = co_await make_wire();
                peer_thread reader([&] { CHECK(take_all(w.peer, 1, 4 * large)); });
                auto first = co_await w.stream.send_all(buffer_of(1, 0, large));
                CHECK(first.has_value());
                co_await all_released(home);
                for (std::uint64_t i = 1; i < 4; ++i) {
                    auto sent = co_await w.stream.send_all(buffer_of(1, i * large, large));
                    CHECK(sent.has_value());
                }
                co_await reader.finished();
            }
        },
        options);
    CHECK(outcome.net.zero_copy_sends == 2);
    CHECK(outcome.net.zero_copy_copied == 2);
    CHECK(outcome.net.zero_copy_ended == 2);
    CHECK(outcome.net.zero_copy_refused == 0);
}

SLUICE_ZERO_COPY_TEST("zero copy: sockets that can't are served with a copy") {
    const auto outcome = run_zero_copy([](reactor&) -> task<> {
        wire w = co_await sluice::testing::make_unix_wire();
        peer_thread reader([&] { CHECK(take_all(w.peer, 1, 2 * large)); });
        for (std::uint64_t i = 0; i < 2; ++i) {
            auto sent = co_await w.stream.send_all(buffer_of(1, i * large, large));
            CHECK(sent.value() == large);
        }
        co_await reader.finished();
    });
    CHECK(outcome.net.zero_copy_refused == 1);
    CHECK(outcome.net.zero_copy_ended == 1);
    CHECK(outcome.net.zero_copy_copied == 0);
    CHECK(outcome.net.bytes_out == 2 * large);
}

// --- limits

SLUICE_ZERO_COPY_TEST("zero copy: at a limit of the connection sends are copied") {
    for (const bool by_bytes : {false, true}) {
        CAPTURE(by_bytes);
        auto options = zero_copy_options();
        if (by_bytes)
            options.max_held_bytes_per_connection = 3 * large / 2;
        else
            options.max_held_sends_per_connection = 2;
        const auto outcome = run_zero_copy(
            [by_bytes](reactor& home) -> task<> {
                wire w = co_await holding_wire();
                wire other = co_await holding_wire();
                for (std::uint64_t i = 0; i < 3; ++i) {
                    auto sent = co_await w.stream.send_all(buffer_of(1, i * large, large));
                    CHECK(sent.has_value());
                }
                CHECK(net_stats_of(home).held_sends == 2);
                CHECK(net_stats_of(home).held_bytes == (by_bytes ? 3 * large / 2 : 2 * large));
                CHECK(net_stats_of(home).held_limit_hit == (by_bytes ? 2 : 1));
                auto not_limited = co_await other.stream.send_all(buffer_of(1, 0, large));
                CHECK(not_limited.has_value());
                CHECK(net_stats_of(home).held_sends == 3);
                peer_thread reader([&] {
                    CHECK(take_all(w.peer, 1, 3 * large));
                    CHECK(take_all(other.peer, 1, large));
                });
                co_await reader.finished();
                co_await all_released(home);
            },
            options);
        CHECK(outcome.net.held_resets == 0);
    }
}

SLUICE_ZERO_COPY_TEST(
    "zero copy: at the limit of the reactor, closed connections have to go first") {
    for (const bool by_bytes : {false, true}) {
        CAPTURE(by_bytes);
        auto options = zero_copy_options();
        if (by_bytes)
            options.max_held_bytes = 2 * large;
        else
            options.max_held_sends = 2;
        const auto outcome = run_zero_copy(
            [](reactor& home) -> task<> {
                wire closed = co_await holding_wire();
                wire open = co_await holding_wire();
                wire third = co_await holding_wire();
                co_await send_pattern(closed, large);
                co_await send_pattern(open, large);
                co_await closed.stream.close();
                CHECK(net_stats_of(home).lingering == 1);
                co_await send_pattern(third, large);  // is copied, and asks for room
                CHECK(net_stats_of(home).held_limit_hit == 1);
                CHECK(net_stats_of(home).held_resets == 1);
                CHECK(co_await until([&] { return net_stats_of(home).held_sends == 1; }));
                CHECK(net_stats_of(home).lingering == 0);
                CHECK_FALSE(take_all(closed.peer, 1, large));
                peer_thread reader([&] {
                    CHECK(take_all(open.peer, 1, large));
                    CHECK(take_all(third.peer, 1, large));
                });
                co_await reader.finished();
                co_await all_released(home);
            },
            options);
        CHECK(outcome.net.zero_copy_sends == 2);
    }
}

SLUICE_ZERO_COPY_TEST("zero copy: none while receive buffers are scarce, which it would keep") {
    auto options = zero_copy_options();
    options.recv_buffers = 8;
    options.recv_buffer_size = 4096;
    const auto outcome = run_zero_copy(
        [](reactor& home) -> task<> {
            wire in = co_await make_wire();
            wire out = co_await make_wire();
            CHECK(in.peer.send(pattern(1).bytes(0, 7 * 4096)));
            std::vector<rx_buffer> kept;
            std::size_t got = 0;
            while (net_stats_of(home).buffers_kernel >= 2) {
                auto chunk = co_await in.stream.recv();
                REQUIRE(chunk.has_value());
                got += chunk->size();
                kept.push_back(std::move(*chunk));
            }
            auto sent = co_await out.stream.send_all(std::move(kept.back()));
            CHECK(sent.has_value());
            CHECK(net_stats_of(home).zero_copy_sends == 0);
            CHECK(net_stats_of(home).held_limit_hit == 1);
            CHECK(got > 0);
        },
        options);
    CHECK(outcome.net.held_sends == 0);
}

// --- the end of the connection

SLUICE_ZERO_COPY_TEST("zero copy: closed at once, and still the peer gets everything and the end") {
    run_zero_copy([](reactor& home) -> task<> {
        wire w = co_await holding_wire();
        co_await send_pattern(w, large);
        co_await w.stream.close();  // waits for nothing
        CHECK(net_stats_of(home).held_sends == 1);
        CHECK(net_stats_of(home).lingering == 1);
        CHECK(net_stats_of(home).open == 1);
        peer_thread reader([&] {
            CHECK(take_all(w.peer, 1, large));
            CHECK(w.peer.recv_all().empty());
            CHECK(errno == 0);
        });
        co_await reader.finished();
        co_await all_released(home);
        CHECK(co_await until([&] { return net_stats_of(home).open == 0; }));
        CHECK(net_stats_of(home).held_resets == 0);
    });
}

SLUICE_ZERO_COPY_TEST("zero copy: a peer that never reads is reset after held_send_timeout") {
    for (const bool registered : {false, true}) {
        CAPTURE(registered);
        auto options = zero_copy_options();
        options.registered_descriptors = registered;
        options.registered_descriptor_slots = 64;
        options.held_send_timeout = 50ms;
        bool intact = true;
        wire w;
        const auto outcome = run_zero_copy(
            [&](reactor& home) -> task<> {
                wire made = co_await holding_wire();
                w.peer = std::move(made.peer);
                co_await send_pattern(made, large);
                const auto began = std::chrono::steady_clock::now();
                made.stream = {};  // dropped, not awaited
                co_await all_released(home);
                CHECK(std::chrono::steady_clock::now() - began >= 45ms);
                intact = take_all(w.peer, 1, large);
                CHECK(errno == ECONNRESET);
            },
            options);
        CHECK_FALSE(intact);
        CHECK(outcome.net.held_resets == 1);
        CHECK(outcome.net.lingering == 0);
    }
}

SLUICE_ZERO_COPY_TEST(
    "zero copy: a peer that never reads holds a stop up for held_send_stop_timeout") {
    auto options = zero_copy_options();
    options.held_send_stop_timeout = 50ms;
    for (const bool stopped_first : {false, true}) {
        CAPTURE(stopped_first);
        wire w;
        const auto outcome = run_zero_copy(
            [&](reactor& home) -> task<> {
                wire made = co_await holding_wire();
                w.peer = std::move(made.peer);
                co_await send_pattern(made, large);
                if (stopped_first) home.request_stop();
                co_await made.stream.close();
                if (!stopped_first) home.request_stop();
            },
            options);
        CHECK(outcome.net.held_resets == 1);
    }
}

SLUICE_ZERO_COPY_TEST("zero copy: after a stop there is time for a peer that does read") {
    wire w;
    peer_thread* reader = nullptr;
    std::unique_ptr<peer_thread> thread;
    const auto outcome = run_zero_copy([&](reactor& home) -> task<> {
        wire made = co_await holding_wire();
        w.peer = std::move(made.peer);
        co_await send_pattern(made, large);
        home.request_stop();
        made.stream = {};
        thread = std::make_unique<peer_thread>([&] {
            CHECK(take_all(w.peer, 1, large));
            CHECK(w.peer.recv_all().empty());
            CHECK(errno == 0);
        });
        reader = thread.get();
    });
    REQUIRE(reader != nullptr);
    reader->join();
    CHECK(outcome.net.held_resets == 0);
}

SLUICE_ZERO_COPY_TEST("zero copy: an abandoned reactor resets what is held, whoever has it") {
    enum class owner { nobody, frame, outside };
    for (const owner o : {owner::nobody, owner::frame, owner::outside}) {
        CAPTURE(static_cast<int>(o));
        const sluice::testing::watchdog limit;
        wire w;
        {
            const auto home = sluice::testing::make_reactor(zero_copy_options());
            home->spawn([&]() -> task<> {
                wire made = co_await holding_wire();
                w.peer = std::move(made.peer);
                co_await send_pattern(made, large);
                if (o == owner::nobody) made.stream = {};
                if (o == owner::outside) w.stream = std::move(made.stream);
                home->abandon();
                static_cast<void>(co_await sluice::sleep_for(100s));
            });
            home->run();
            CHECK(net_stats_of(*home).held_sends == 0);
            CHECK(net_stats_of(*home).held_resets == 1);
            CHECK(home->stats().tasks_destroyed == 1);
        }
        w.stream = {};  // an orphan
        CHECK_FALSE(take_all(w.peer, 1, large));
    }
}

SLUICE_ZERO_COPY_TEST("zero copy: what is queued in the turn in which a reactor is abandoned") {
    const sluice::testing::watchdog limit;
    wire w;
    const auto home = sluice::testing::make_reactor(zero_copy_options());
    home->spawn([&]() -> task<> {
        w = co_await holding_wire();
        home->spawn([&]() -> task<> {
            static_cast<void>(co_await sluice::shielded(w.stream.send_all(buffer_of(1, 0, large))));
        });
        co_await sluice::yield();  // now it is in the queue, and not at the kernel yet
        home->abandon();
        static_cast<void>(co_await sluice::sleep_for(100s));
    });
    home->run();
    CHECK(net_stats_of(*home).sends == 1);
    CHECK(net_stats_of(*home).zero_copy_sends == 0);
    CHECK(home->stats().tasks_destroyed == 2);
    w.stream = {};
}

SLUICE_ZERO_COPY_TEST("zero copy: a reset by the peer releases") {
    run_zero_copy([](reactor& home) -> task<> {
        wire w = co_await holding_wire();
        co_await send_pattern(w, large);
        CHECK(net_stats_of(home).held_sends == 1);
        w.peer.reset();
        co_await all_released(home);
        auto late = co_await w.stream.send_all(buffer_of(1, 0, large));
        CHECK(late.has_error());
    });
}

SLUICE_ZERO_COPY_TEST("zero copy: abort() with sends that are not over") {
    for (const bool registered : {false, true}) {
        CAPTURE(registered);
        auto options = zero_copy_options();
        options.registered_descriptors = registered;
        options.registered_descriptor_slots = 64;
        const auto outcome = run_zero_copy(
            [](reactor& home) -> task<> {
                wire w = co_await holding_wire();
                co_await send_pattern(w, large);
                w.stream.abort();
                co_await all_released(home);
                CHECK_FALSE(take_all(w.peer, 1, large));
                CHECK(errno == ECONNRESET);
            },
            options);
        CHECK(outcome.net.held_resets == 0);  // which are those that nobody asked for
    }
}

// --- cancelling

SLUICE_ZERO_COPY_TEST(
    "zero copy: cancelled half-way breaks the write side, and the part that went is held") {
    run_zero_copy([](reactor& home) -> task<> {
        wire w = co_await make_wire(4096);
        CHECK(w.stream.set_option(SOL_SOCKET, SO_SNDBUF, 64 * 1024));
        auto half = co_await with_timeout(30ms, w.stream.send_all(buffer_of(1, 0, 4 << 20)));
        REQUIRE(half.has_error());
        CHECK(half.error() == sluice::error::timeout);
        CHECK(net_stats_of(home).held_sends == 1);
        auto next = co_await w.stream.send_all(bytes_of("x"));
        CHECK(next.error() == sluice::error::broken_send);
        co_await w.stream.close();
        peer_thread reader([&] {
            sluice::testing::pattern_reader check(1);
            const std::string all = w.peer.recv_all();
            CHECK(check.take(bytes_of(all)));
            CHECK(!all.empty());
            CHECK(all.size() < 4 << 20);
        });
        co_await reader.finished();
        co_await all_released(home);
    });
}

SLUICE_ZERO_COPY_TEST("zero copy: racing completion, each message arrives whole or not at all") {
    run_zero_copy([](reactor&) -> task<> {
        wire w = co_await make_wire();
        std::string all;
        std::string expected;
        peer_thread reader([&] { all = w.peer.recv_all(); });
        for (int i = 0; i < 300; ++i) {
            const std::string text = std::to_string(i) + std::string(2000, '.') + "\n";
            auto outcome = co_await with_nursery([&](nursery& scope) -> task<> {
                scope.spawn([&]() -> task<> {
                    auto sent = co_await w.stream.send_all(rx_buffer::copy_of(bytes_of(text)));
                    if (sent) expected += text;
                });
                for (int n = 0; n < i % 4; ++n) co_await sluice::yield();
                scope.request_stop();
            });
            CHECK(outcome.has_value());
        }
        auto ended = co_await w.stream.shutdown();
        CHECK(ended.has_value());
        co_await reader.finished();
        CHECK(all == expected);
    });
}

// --- memory that is only lent

SLUICE_ZERO_COPY_TEST("send_all_zero_copy: completes when the memory is free again") {
    const auto outcome = run_zero_copy([](reactor& home) -> task<> {
        wire w = co_await holding_wire();
        auto mine = pattern(1).bytes(0, large);
        bool sent = false;
        auto all = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&]() -> task<> {
                auto done = co_await w.stream.send_all_zero_copy(mine);
                CHECK(done.value() == mine.size());
                sent = true;
            });
            CHECK(co_await until([&] { return net_stats_of(home).bytes_out == mine.size(); }));
            co_await sluice::testing::some_turns();
            CHECK_FALSE(sent);
            auto behind = co_await w.stream.send_all(bytes_of("x"));
            CHECK(behind.has_value());
            CHECK_FALSE(sent);
            peer_thread reader([&] { CHECK(take_all(w.peer, 1, mine.size())); });
            co_await reader.finished();
        });
        CHECK(all.has_value());
        CHECK(sent);
        CHECK(net_stats_of(home).held_sends == 0);
    });
    CHECK(outcome.net.zero_copy_sends == 1);
}

SLUICE_ZERO_COPY_TEST("send_all_zero_copy: small, or at a limit, it is a copy like any other") {
    auto options = zero_copy_options();
    options.zero_copy_send_from = 1000;
    options.max_held_bytes_per_connection = 500;
    const auto outcome = run_zero_copy(
        [](reactor&) -> task<> {
            wire w = co_await holding_wire();
            const auto mine = pattern(1).bytes(0, large);
            auto small = co_await w.stream.send_all_zero_copy(std::span(mine).first(999));
            CHECK(small.value() == 999);
            auto limited = co_await w.stream.send_all_zero_copy(mine);
            CHECK(limited.value() == large);
            auto none = co_await w.stream.send_all_zero_copy({});
            CHECK(none.value() == 0);
        },
        options);
    CHECK(outcome.net.zero_copy_sends == 0);
    CHECK(outcome.net.held_limit_hit == 1);
}

SLUICE_ZERO_COPY_TEST("send_all_zero_copy: more than the connection may hold") {
    auto options = zero_copy_options();
    options.max_held_bytes_per_connection = 100'000;
    run_zero_copy(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire(16'384);
            const auto mine = pattern(1).bytes(0, 4 << 20);
            peer_thread reader([&] { CHECK(take_all(w.peer, 1, mine.size())); });
            auto sent = co_await w.stream.send_all_zero_copy(mine);
            CHECK(sent.value() == mine.size());
            CHECK(net_stats_of(home).held_sends == 0);
            co_await reader.finished();
        },
        options);
}

SLUICE_ZERO_COPY_TEST("send_all_zero_copy: cancelled after it was accepted resets the connection") {
    const auto outcome = run_zero_copy([](reactor& home) -> task<> {
        wire w = co_await holding_wire();
        auto mine = pattern(1).bytes(0, large);
        auto late = co_await with_timeout(30ms, w.stream.send_all_zero_copy(mine));
        REQUIRE(late.has_error());
        CHECK(late.error() == sluice::error::timeout);
        CHECK(net_stats_of(home).held_sends == 0);  // or it might not have come back
        std::fill(mine.begin(), mine.end(), std::byte{0});
        auto next = co_await w.stream.send_all(bytes_of("x"));
        CHECK(next.error() == sluice::error::broken_send);
        auto nothing = co_await w.stream.recv();
        CHECK(nothing.has_error());
        sluice::testing::pattern_reader check(1);
        CHECK(check.take(bytes_of(w.peer.recv_all())));  // none of the zeros
        CHECK(errno == ECONNRESET);
    });
    CHECK(outcome.net.held_resets == 1);
}

SLUICE_ZERO_COPY_TEST("send_all_zero_copy: cancelled before a byte went changes nothing") {
    run_zero_copy([](reactor& home) -> task<> {
        // The kernel may make a little room after it has said that there is none: tried again then.
        bool nothing_went = false;
        for (int attempt = 0; attempt < 20 && !nothing_went; ++attempt) {
            wire w = co_await make_wire(4096);
            CHECK(w.stream.set_option(SOL_SOCKET, SO_SNDBUF, 4096));
            std::size_t before = 0;
            for (int refusals = 0; refusals < 5;) {
                const auto more = pattern(1).bytes(before, large);
                auto some = co_await with_timeout(5ms, w.stream.send(more));
                refusals = some ? 0 : refusals + 1;
                if (some) before += *some;
            }
            const auto out = net_stats_of(home).bytes_out;
            const auto resets = net_stats_of(home).held_resets;
            const auto mine = pattern(2).bytes(0, large);
            auto late = co_await with_timeout(30ms, w.stream.send_all_zero_copy(mine));
            REQUIRE(late.has_error());
            CHECK(late.error() == sluice::error::timeout);
            nothing_went = net_stats_of(home).bytes_out == out;
            if (!nothing_went) continue;
            CHECK(net_stats_of(home).held_resets == resets);
            std::string tail;
            peer_thread reader([&] {
                CHECK(take_all(w.peer, 1, before));
                tail = w.peer.recv_text(4);
            });
            auto next = co_await w.stream.send_all(bytes_of("next"));
            CHECK(next.has_value());
            co_await reader.finished();
            CHECK(tail == "next");
        }
        CHECK(nothing_went);
    });
}

SLUICE_ZERO_COPY_TEST("send_all_zero_copy: the stream is closed by another task") {
    for (const bool accepted : {false, true}) {
        CAPTURE(accepted);
        run_zero_copy([accepted](reactor& home) -> task<> {
            wire w;
            if (accepted)
                w = co_await holding_wire();
            else
                w = co_await make_wire(4096);
            boost::system::error_code ended;
            auto all = co_await with_nursery([&](nursery& scope) -> task<> {
                scope.spawn([&]() -> task<> {
                    const auto mine = pattern(1).bytes(0, accepted ? large : 8 << 20);
                    auto sent = co_await w.stream.send_all_zero_copy(mine);
                    if (!sent) ended = sent.error();
                });
                if (accepted)
                    CHECK(co_await until([&] { return net_stats_of(home).bytes_out == large; }));
                co_await sluice::testing::some_turns();
                co_await w.stream.close();
            });
            CHECK(all.has_value());
            CHECK(ended == boost::system::errc::operation_canceled);
            CHECK(net_stats_of(home).held_sends == 0);
        });
    }
}

TEST_SUITE_END();
