// SPDX-License-Identifier: Apache-2.0
// What waits on a connection is bounded, however fast its peer sends.

#include <algorithm>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"
#include "support/sanitizers.hpp"

using namespace std::chrono_literals;
using sluice::reactor_options;
using sluice::task;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::run_net;
using sluice::testing::wire;

namespace {

struct limit {
    std::uint32_t bytes;
    std::uint64_t total;
};

constexpr std::uint64_t shared_total = 100'000;

const limit limits[] = {
    {1, 3'000}, {2, 3'000}, {100, 200'000}, {4096, 4'000'000}, {65'536, 16 << 20}};

}  // namespace

TEST_SUITE_BEGIN("loopback.credit");

TEST_CASE("credit: pending() never exceeds max_pending_bytes, and the stream is intact") {
    for (const limit& l : limits) {
        CAPTURE(l.bytes);
        reactor_options options;
        options.max_pending_bytes = l.bytes;
        std::size_t most = 0;
        const auto outcome = run_net(
            [&]() -> task<> {
                wire c = co_await make_wire();
                peer_thread sender([&] {
                    const auto content = pattern(l.bytes).bytes(0, l.total);
                    CHECK(c.peer.send(content));
                    c.peer.shutdown_write();
                });
                pattern_reader reader(l.bytes);
                for (unsigned i = 0;; ++i) {
                    if (i % 64 == 0) static_cast<void>(co_await sluice::sleep_for(100us));
                    most = std::max(most, c.stream.pending());
                    auto chunk = co_await c.stream.recv();
                    if (!chunk) {
                        CHECK(chunk.error() == sluice::error::eof);
                        break;
                    }
                    reader.take(chunk->bytes());
                    most = std::max(most, chunk->size());
                }
                CHECK(reader.intact());
                CHECK(reader.taken() == l.total);
                co_await sender.finished();
            },
            options);
        CHECK(most <= l.bytes);
        CHECK(outcome.net.capped > 0);
    }
}

TEST_CASE("credit: a reader that does nothing gets no more than its limit") {
    reactor_options options;
    options.max_pending_bytes = 4096;
    run_net(
        [](sluice::reactor& home) -> task<> {
            wire c = co_await make_wire();
            constexpr std::size_t total = 2 << 20;
            peer_thread sender([&] {
                CHECK(c.peer.send(pattern(1).bytes(0, total)));
                c.peer.shutdown_write();
            });
            std::byte first{};
            auto one = co_await c.stream.recv_into(std::span(&first, 1));
            CHECK(one.has_value());
            std::size_t most = 0;
            for (int i = 0; i < 50; ++i) {
                static_cast<void>(co_await sluice::sleep_for(1ms));
                most = std::max(most, c.stream.pending());
            }
            CHECK(most <= 4096);
            CHECK(sluice::net_stats_of(home).bytes_in <= 4097 + 4096);
            std::vector<std::byte> space(10'000);
            pattern_reader reader(1);
            reader.take(std::span(&first, 1));
            for (;;) {
                auto some = co_await c.stream.recv_into(space);
                if (!some) break;
                reader.take(std::span(space).first(*some));
            }
            CHECK(reader.intact());
            CHECK(reader.taken() == total);
            co_await sender.finished();
        },
        options);
}

TEST_CASE("credit: many connections, each with its own") {
    reactor_options options;
    options.max_pending_bytes = 1000;
    static constexpr int connections = 20;
    run_net(
        []() -> task<> {
            std::vector<wire> wires;
            for (int i = 0; i < connections; ++i) {
                wire l = co_await make_wire();
                wires.push_back(std::move(l));
            }
            peer_thread senders([&] {
                for (std::uint64_t i = 0; i < connections; ++i) {
                    CHECK(wires[i].peer.send(pattern(i).bytes(0, shared_total)));
                    wires[i].peer.shutdown_write();
                }
            });
            auto outcome = co_await sluice::with_nursery([&](sluice::nursery& scope) -> task<> {
                for (std::uint64_t i = 0; i < connections; ++i)
                    scope.spawn([&wires, i]() -> task<> {
                        pattern_reader reader(i);
                        std::size_t most = 0;
                        for (;;) {
                            most = std::max(most, wires[i].stream.pending());
                            auto chunk = co_await wires[i].stream.recv();
                            if (!chunk) break;
                            reader.take(chunk->bytes());
                        }
                        CHECK(most <= 1000);
                        CHECK(reader.intact());
                        CHECK(reader.taken() == shared_total);
                    });
                co_return;
            });
            CHECK(outcome.has_value());
            co_await senders.finished();
        },
        options);
}

TEST_SUITE_END();
