// SPDX-License-Identifier: Apache-2.0
// Queues far too small for their load: overflow is counted and survived.

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/echo_service.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::reactor;
using sluice::reactor_options;
using sluice::task;
using sluice::with_nursery;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::plain_socket;
using sluice::testing::run_net;
using sluice::testing::wire;

namespace {

reactor_options tiny(std::uint32_t sq, std::uint32_t cq) {
    reactor_options options;
    options.sq_entries = sq;
    options.cq_entries = cq;
    return options;
}

}  // namespace

TEST_SUITE_BEGIN("loopback.queues");

TEST_CASE("tiny queues: completions overflow, every byte arrives") {
    static constexpr std::uint64_t connections = 60;
    static constexpr std::uint64_t total = 40'000;
    for (const std::uint32_t cq : {2U, 4U, 8U}) {
        CAPTURE(cq);
        const auto outcome = run_net(
            []() -> task<> {
                std::vector<wire> wires;
                for (std::uint64_t i = 0; i < connections; ++i) {
                    wire w = co_await sluice::testing::make_wire();
                    wires.push_back(std::move(w));
                }
                auto all = co_await with_nursery([&](nursery& scope) -> task<> {
                    for (std::uint64_t i = 0; i < connections; ++i)
                        scope.spawn([&wires, i]() -> task<> {
                            pattern_reader reader(i);
                            for (;;) {
                                auto chunk = co_await wires[i].stream.recv();
                                if (!chunk) {
                                    CHECK(chunk.error() == sluice::error::eof);
                                    break;
                                }
                                reader.take(chunk->bytes());
                                auto sent = co_await wires[i].stream.send_all(std::move(*chunk));
                                CHECK(sent.has_value());
                            }
                            CHECK(reader.intact());
                            CHECK(reader.taken() == total);
                        });
                    // All receives are armed; then bytes come to all of them in one turn.
                    co_await sluice::testing::some_turns();
                    for (std::uint64_t at = 0; at < total; at += 2000) {
                        for (std::uint64_t i = 0; i < connections; ++i)
                            CHECK(wires[i].peer.send(pattern(i).bytes(at, 2000)));
                        co_await sluice::yield();
                    }
                    for (std::uint64_t i = 0; i < connections; ++i) wires[i].peer.shutdown_write();
                });
                CHECK(all.has_value());
                for (std::uint64_t i = 0; i < connections; ++i) {
                    const std::string echoed = wires[i].peer.recv_text(total);
                    CHECK(echoed.size() == total);
                    CHECK(pattern(i).matches(0, std::as_bytes(std::span(echoed))));
                }
            },
            tiny(2, cq));
        const bool strained = outcome.runtime.cq_overflows > 0 || outcome.runtime.sq_full_parks > 0;
        CHECK(strained);
        MESSAGE("cq " << cq << ": " << outcome.runtime.cq_overflows << " overflows, "
                      << outcome.runtime.sq_full_parks << " submissions parked");
    }
}

TEST_CASE("tiny queues: connecting, accepting, timing out and closing by the hundred") {
    const auto outcome = run_net(
        [](reactor& home) -> task<> {
            const auto group = sluice::listener_group::open(sluice::testing::loopback(), 1).value();
            auto listener = sluice::tcp_listener::open(home, group, 0).value();
            static constexpr int count = 200;
            int accepted = 0;
            auto all = co_await with_nursery([&](nursery& scope) -> task<> {
                for (int i = 0; i < count; ++i)
                    scope.spawn([&]() -> task<> {
                        auto made = co_await sluice::tcp_stream::connect(group.local());
                        REQUIRE(made.has_value());
                        auto none = co_await sluice::with_timeout(1ms, made->recv());
                        CHECK(none.has_error());
                    });
                while (accepted < count) {
                    auto one = co_await listener.accept();
                    REQUIRE(one.has_value());
                    ++accepted;
                    if (accepted % 2 == 0) co_await one->close();
                }
            });
            CHECK(all.has_value());
        },
        tiny(1, 2));
    CHECK(outcome.net.connected == 200);
    CHECK(outcome.net.accepted == 200);
}

TEST_CASE("tiny queues: an echo service under load") {
    const sluice::testing::watchdog limit;
    sluice::testing::echo_options options;
    options.service.reactor = tiny(2, 2);
    sluice::testing::echo_service echo(options);
    std::atomic<int> failed{0};
    std::vector<std::thread> clients;
    for (std::uint64_t t = 0; t < 4; ++t)
        clients.emplace_back([&, t] {
            std::vector<plain_socket> mine;
            for (int i = 0; i < 25; ++i) mine.push_back(plain_socket::connect(echo.local()));
            std::vector<std::byte> answer(3000);
            for (std::uint64_t n = 0; n < 20; ++n) {
                for (plain_socket& s : mine)
                    if (!s.send(pattern(t).bytes(n * 3000, 3000))) ++failed;
                for (plain_socket& s : mine)
                    if (!s.recv_exact(answer) || !pattern(t).matches(n * 3000, answer)) ++failed;
            }
        });
    for (auto& c : clients) c.join();
    CHECK(failed.load() == 0);
    const auto report = echo.stop();
    INFO(report.to_string());
    CHECK(report.clean());
}

TEST_SUITE_END();
