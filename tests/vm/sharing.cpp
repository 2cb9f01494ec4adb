// SPDX-License-Identifier: Apache-2.0
// Two reactors and one rx queue: one keeps the books, the other imports.

#include <atomic>
#include <thread>
#include <vector>

#include "sluice/channel.hpp"
#include "sluice/on.hpp"
#include "sluice/service.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::net_stats_of;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rx_buffer;
using sluice::service;
using sluice::service_options;
using sluice::task;
using sluice::with_timeout;
using sluice::zcrx_stats;
using sluice::zcrx_stats_of;
using sluice::testing::bare_area;
using sluice::testing::has_device_less_queues;
using sluice::testing::make_reactor;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::small_area;
using sluice::testing::until;
using sluice::testing::wire;

namespace {

service_options two_reactors(const reactor_options& options) {
    service_options both;
    both.cpus = {0, 1};
    both.pin = false;
    both.reactor = options;
    both.reactor.zcrx.reactors_per_queue = 2;
    return both;
}

//! A stream from its beginning to its end, with some of its slices held for a while.
task<> receive_and_hold(std::uint64_t seed, std::uint64_t total, std::size_t most) {
    wire w = co_await make_wire();
    peer_thread sender([&] {
        CHECK(w.peer.send(pattern(seed).bytes(0, total)));
        w.peer.shutdown_write();
    });
    pattern_reader reader(seed);
    std::vector<rx_buffer> held;
    for (;;) {
        auto chunk = co_await with_timeout(20s, w.stream.recv());
        if (!chunk) {
            CHECK(chunk.error() == sluice::error::eof);
            break;
        }
        reader.take(chunk->bytes());
        held.push_back(std::move(*chunk));
        if (held.size() > most) held.clear();
    }
    CHECK(reader.intact());
    CHECK(reader.taken() == total);
    co_await sender.finished();
}

}  // namespace

TEST_SUITE_BEGIN("vm.sharing");

TEST_CASE("zcrx: both reactors receive from one queue, and its books balance") {
    if (!has_device_less_queues()) return;
    std::atomic<unsigned> done{0};
    std::atomic<std::uint64_t> zero_copy{0};
    zcrx_stats books;
    service both(two_reactors(small_area(512)));
    const auto report = both.run([&](reactor& home) -> task<> {
        co_await receive_and_hold(home.index() + 1, 8 << 20, 16);
        CHECK(zcrx_stats_of(home).in_use);
        zero_copy += net_stats_of(home).zero_copy_bytes;
        ++done;
        CHECK(co_await until([&] { return done == 2; }));
        if (home.index() == 0) {
            CHECK(co_await until([&] { return zcrx_stats_of(home).tokens_held == 0; }));
            books = zcrx_stats_of(home);
        }
    });
    REQUIRE(report.has_value());
    CHECK_MESSAGE(report->clean(), report->to_string());
    CHECK(books.balanced());
    CHECK(books.tokens_held == 0);
    CHECK(books.areas == 1);

    CHECK(zero_copy > (8 << 20));
}

TEST_CASE("zcrx: one holds all chunks, the other starves and hears when they are back") {
    if (!has_device_less_queues()) return;
    std::atomic<bool> all_held{false};
    std::atomic<bool> starving{false};
    service both(two_reactors(bare_area(128)));
    const auto report = both.run([&](reactor& home) -> task<> {
        wire w = co_await make_wire();
        if (home.index() == 0) {
            // More than fits, so that what is left is not a slice that could be moved away.
            constexpr std::uint64_t plenty = 160 * 4096;
            peer_thread sender([&] { CHECK(w.peer.send(pattern(1).bytes(0, plenty))); });
            std::vector<rx_buffer> held;
            pattern_reader reader(1);
            for (;;) {
                auto chunk = co_await with_timeout(200ms, w.stream.recv());
                if (!chunk) break;
                reader.take(chunk->bytes());
                held.push_back(std::move(*chunk));
            }
            CHECK(zcrx_stats_of(home).chunks_out == 128);
            all_held = true;
            CHECK(co_await until([&] { return starving.load(); }));
            held.clear();
            while (reader.taken() < plenty) {
                auto chunk = co_await with_timeout(20s, w.stream.recv());
                REQUIRE(chunk.has_value());
                reader.take(chunk->bytes());
            }
            CHECK(reader.intact());
            co_await sender.finished();
            co_return;
        }
        CHECK(co_await until([&] { return all_held.load(); }));
        CHECK(w.peer.send(pattern(2).bytes(0, 4096)));
        auto nothing = co_await with_timeout(50ms, w.stream.recv());
        CHECK(nothing.error() == sluice::error::timeout);
        CHECK(net_stats_of(home).enobufs > 0);
        starving = true;
        auto chunk = co_await with_timeout(20s, w.stream.recv());
        REQUIRE(chunk.has_value());
        CHECK(pattern(2).matches(0, chunk->bytes()));
    });
    REQUIRE(report.has_value());
    CHECK_MESSAGE(report->clean(), report->to_string());
}

TEST_CASE("zcrx: a lease of an imported queue dies on the producer's thread, and the other way") {
    if (!has_device_less_queues()) return;
    service both(two_reactors(small_area(64)));
    std::atomic<unsigned> done{0};
    const auto report = both.run([&](reactor& home) -> task<> {
        wire w = co_await make_wire();
        for (std::uint64_t i = 0; i < 200; ++i) {
            CHECK(w.peer.send(pattern(i).bytes(0, 4096)));
            auto chunk = co_await with_timeout(20s, w.stream.recv());
            REQUIRE(chunk.has_value());
            const auto there = [held = std::make_shared<rx_buffer>(std::move(*chunk)), i] {
                CHECK(pattern(i).matches(0, held->bytes()));
                held->reset();
            };
            co_await sluice::on(1 - home.index(), there);
        }
        ++done;
        CHECK(co_await until([&] { return done == 2; }));
        if (home.index() != 0) co_return;
        CHECK(co_await until([&] { return zcrx_stats_of(home).tokens_held == 0; }));
        CHECK(zcrx_stats_of(home).balanced());
    });
    REQUIRE(report.has_value());
    CHECK_MESSAGE(report->clean(), report->to_string());
}

TEST_CASE("zcrx: the producer leaves, and the other one goes on with the same queue") {
    if (!has_device_less_queues()) return;
    reactor_options options = small_area(64);
    options.zcrx.reactors_per_queue = 2;
    std::atomic<int> stage{0};
    const auto wait_for = [&](int s) {
        while (stage < s) std::this_thread::sleep_for(1ms);
    };
    rx_buffer legacy;  // of the old producer
    std::thread second([&] {
        wait_for(1);
        const auto home = make_reactor(options, 1);
        const auto rounds = [&](int count) -> task<> {
            wire w = co_await make_wire();
            for (int i = 0; i < count; ++i) {
                CHECK(w.peer.send(pattern(7).bytes(0, 4096)));
                auto chunk = co_await with_timeout(20s, w.stream.recv());
                REQUIRE(chunk.has_value());
                CHECK(pattern(7).matches(0, chunk->bytes()));
            }
        };
        home->spawn(rounds, 10);
        home->run_until_idle();
        stage = 2;
        wait_for(3);
        // Many times the area: chunks go back by the new producer's hand.
        home->spawn(rounds, 500);
        home->run_until_idle();
        CHECK(pattern(8).matches(0, legacy.bytes()));
        legacy.reset();
        home->spawn([&]() -> task<> {
            CHECK(co_await until([&] { return zcrx_stats_of(*home).tokens_held == 0; }));
            CHECK(zcrx_stats_of(*home).balanced());
            CHECK(zcrx_stats_of(*home).publications > 0);
        });
        home->run_until_idle();
    });
    std::thread first([&] {
        const auto home = make_reactor(options, 0);
        home->spawn([&]() -> task<> {
            wire w = co_await make_wire();
            stage = 1;
            CHECK(w.peer.send(pattern(8).bytes(0, 4096)));
            auto chunk = co_await with_timeout(20s, w.stream.recv());
            REQUIRE(chunk.has_value());
            legacy = std::move(*chunk);
            CHECK(co_await until([&] { return stage >= 2; }));
        });
        home->run_until_idle();
    });
    first.join();
    stage = 3;
    second.join();
}

TEST_SUITE_END();
