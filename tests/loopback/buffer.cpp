// SPDX-License-Identifier: Apache-2.0
#include "sluice/buffer.hpp"

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/memory_use.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"
#include "sluice/buffer_chain.hpp"

using namespace std::chrono_literals;
using sluice::buffer_chain;
using sluice::net_stats_of;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rx_buffer;
using sluice::task;
using sluice::testing::bytes_of;
using sluice::testing::make_wire;
using sluice::testing::run_net;
using sluice::testing::wire;

namespace {

//! A buffer with that text, received.
task<rx_buffer> received(wire& from, std::string text) {
    CHECK(from.peer.send(text));
    auto chunk = co_await from.stream.recv();
    rx_buffer b = std::move(chunk).value();
    CHECK(b.text() == text);
    co_return b;
}

}  // namespace

TEST_SUITE_BEGIN("loopback.buffer");

SLUICE_NET_TEST("buffer: slices, shares and splits are handles of the same bytes") {
    wire w = co_await make_wire();
    rx_buffer whole = co_await received(w, "0123456789");
    CHECK(net_stats_of(home).buffers_lent == 1);
    const rx_buffer middle = whole.slice(3, 4);
    CHECK(middle.text() == "3456");
    CHECK(middle.data() == whole.data() + 3);
    const rx_buffer to_the_end = whole.slice(8, 1000);
    CHECK(to_the_end.text() == "89");
    CHECK(whole.slice(10, 1).empty());
    CHECK(whole.slice(1000, 1).empty());
    CHECK(net_stats_of(home).buffers_lent == 3);
    const rx_buffer shared = whole.share();
    CHECK(shared.data() == whole.data());
    CHECK(shared.size() == 10);
    rx_buffer front = whole.split(4);
    CHECK(front.text() == "0123");
    CHECK(whole.text() == "456789");
    const rx_buffer rest = whole.split(100);
    CHECK(rest.text() == "456789");
    CHECK(whole.empty());
    CHECK(whole.data() == nullptr);
    CHECK(net_stats_of(home).buffers_lent == 5);
    CHECK(front.join(const_cast<rx_buffer&>(rest)));
    CHECK(front.text() == "0123456789");
    CHECK(rest.empty());
    front.reset();
    front.reset();
    CHECK(front.empty());
    CHECK(shared.text() == "0123456789");
    CHECK(middle.text() == "3456");
}

SLUICE_NET_TEST("buffer: moves, also onto itself") {
    wire w = co_await make_wire();
    rx_buffer a = co_await received(w, "a");
    rx_buffer b = co_await received(w, "bb");
    CHECK(net_stats_of(home).buffers_lent == 2);
    a = std::move(b);
    CHECK(a.text() == "bb");
    CHECK(b.empty());
    CHECK(net_stats_of(home).buffers_lent == 1);
    rx_buffer& self = a;
    a = std::move(self);
    CHECK(a.text() == "bb");
    const rx_buffer c = std::move(a);
    CHECK(c.text() == "bb");
    CHECK(net_stats_of(home).buffers_lent == 1);
}

SLUICE_NET_TEST("buffer: a copy has memory of its own") {
    wire w = co_await make_wire();
    rx_buffer copy;
    {
        const rx_buffer original = co_await received(w, "text");
        copy = original.copy();
        CHECK(copy.data() != original.data());
    }
    CHECK(net_stats_of(home).buffers_lent == 0);
    CHECK(copy.text() == "text");
    rx_buffer of_copy = copy.slice(1, 2);
    copy.reset();
    CHECK(of_copy.text() == "ex");
    const rx_buffer none = rx_buffer{}.copy();
    CHECK(none.empty());
    const std::string big(1 << 20, 'b');
    rx_buffer large = rx_buffer::copy_of(bytes_of(big));
    CHECK(large.text() == big);
    auto sent = co_await w.stream.send_all(std::move(of_copy));
    CHECK(sent.has_value());
    CHECK(w.peer.recv_text(2) == "ex");
}

SLUICE_NET_TEST("buffer: chains") {
    wire w = co_await make_wire();
    buffer_chain chain;
    CHECK(chain.empty());
    CHECK(chain.count() == 0);
    CHECK(chain.size() == 0);
    chain.append(rx_buffer{});
    CHECK(chain.empty());
    for (const char* text : {"one ", "two ", "three"}) {
        rx_buffer b = co_await received(w, text);
        chain.append(std::move(b));
    }
    CHECK(chain.count() == 3);
    CHECK(chain.size() == 13);
    CHECK(chain[2].text() == "three");
    CHECK(chain.to_string() == "one two three");
    auto sent = co_await w.stream.send_all(std::move(chain));
    REQUIRE(sent.has_value());
    CHECK(*sent == 13);
    CHECK(w.peer.recv_text(13) == "one two three");
    CHECK(net_stats_of(home).buffers_lent == 0);
}

SLUICE_NET_TEST("buffer: a span taken before an await is good after it") {
    wire w = co_await make_wire();
    const rx_buffer held = co_await received(w, "stays where it is");
    const std::byte* const at = held.data();
    const std::vector<std::byte> more(500);
    std::size_t taken = 0;
    for (int i = 0; i < 1000; ++i) {
        CHECK(w.peer.send(more));
        auto chunk = co_await w.stream.recv();
        REQUIRE(chunk.has_value());
        taken += chunk->size();
    }
    CHECK(taken > 400'000);
    CHECK(held.data() == at);
    CHECK(held.text() == "stays where it is");
}

TEST_CASE("buffer: all dies on other threads while the reactor goes on receiving") {
    reactor_options options;
    options.recv_buffers = 16;
    options.recv_buffer_size = 4096;
    static constexpr std::uint64_t total = 4 << 20;
    const auto outcome = run_net(
        [](reactor& home) -> task<> {
            wire w = co_await make_wire();
            sluice::testing::peer_thread sender([&] {
                CHECK(w.peer.send(sluice::testing::pattern(6).bytes(0, total)));
                w.peer.shutdown_write();
            });
            std::mutex mutex;
            std::vector<rx_buffer> handed_over;
            std::atomic<bool> ended{false};
            std::atomic<std::uint64_t> seen{0};
            const auto consume = [&] {
                for (bool last = false; !last;) {
                    last = ended.load();
                    std::vector<rx_buffer> mine;
                    {
                        const std::lock_guard lock(mutex);
                        mine.swap(handed_over);
                    }
                    if (mine.empty()) std::this_thread::sleep_for(100us);
                    for (rx_buffer& b : mine) {
                        seen += b.size();
                        const rx_buffer second = b.share();  // counted here, too
                        const rx_buffer part = b.split(b.size() / 2);
                    }
                }
            };
            sluice::testing::peer_thread first(consume);
            sluice::testing::peer_thread second(consume);
            sluice::testing::pattern_reader reader(6);
            for (;;) {
                auto chunk = co_await w.stream.recv();
                if (!chunk) break;
                reader.take(chunk->bytes());
                const rx_buffer kept = chunk->share();  // dies here, at the same time
                const std::lock_guard lock(mutex);
                handed_over.push_back(std::move(*chunk));
            }
            ended = true;
            co_await sender.finished();
            co_await first.finished();
            co_await second.finished();
            CHECK(reader.intact());
            CHECK(reader.taken() == total);
            CHECK(seen.load() == total);
            CHECK(net_stats_of(home).buffers_lent == 0);
        },
        options);
    CHECK(outcome.net.buffers_total == 16);
}

TEST_CASE("buffer: outlives its reactor, and all memory goes with the last one") {
    reactor_options options;
    options.recv_buffers = 64;
    options.recv_buffer_size = 1 << 20;
    const auto round = [&options](bool elsewhere) {
        std::vector<rx_buffer> held;
        {
            const auto home = sluice::testing::make_reactor(options);
            home->spawn([&]() -> task<> {
                wire w = co_await make_wire();
                rx_buffer b = co_await received(w, "outlives");
                held.push_back(b.slice(0, 3));
                held.push_back(b.copy());
                held.push_back(std::move(b));
            });
            home->run_until_idle();
            CHECK(net_stats_of(*home).buffers_lent == 2);
        }
        CHECK(held[0].text() == "out");
        CHECK(held[1].text() == "outlives");
        CHECK(held[2].text() == "outlives");
        held.push_back(held[0].share());
        if (elsewhere)
            std::thread([&] { held.clear(); }).join();
        else
            held.clear();
    };
    round(false);
    round(true);
    const std::size_t before = sluice::testing::memory_now().mapped;
    for (int i = 0; i < 10; ++i) round(i % 2 == 0);
    const std::size_t after = sluice::testing::memory_now().mapped;
    // Each reactor maps 64 MiB; heaps of threads may come and go.
    CHECK(after < before + (std::size_t{200} << 20));
}

TEST_CASE("buffer: outlives its reactor and dies on a thread with another reactor") {
    rx_buffer held;
    {
        const auto home = sluice::testing::make_reactor();
        home->spawn([&]() -> task<> {
            wire w = co_await make_wire();
            held = co_await received(w, "travels");
        });
        home->run_until_idle();
    }
    run_net([&]() -> task<> {
        wire w = co_await make_wire();
        auto sent = co_await w.stream.send_all(std::move(held));
        CHECK(sent.has_value());
        CHECK(w.peer.recv_text(7) == "travels");
    });
}

TEST_CASE("buffer: sizes and numbers are rounded as documented") {
    struct shape {
        std::uint32_t buffers;
        std::uint32_t size;
        std::uint32_t expected;
    };
    for (const shape& s : {shape{0, 4096, 1}, shape{1, 1, 1}, shape{3, 4096, 4},
                           shape{100'000, 16, 32'768}, shape{5, 0, 8}}) {
        CAPTURE(s.buffers);
        reactor_options options;
        options.recv_buffers = s.buffers;
        options.recv_buffer_size = s.size;
        const auto outcome = run_net(
            []() -> task<> {
                wire w = co_await make_wire();
                CHECK(w.peer.send("abc"));
                std::string got;
                while (got.size() < 3) {
                    auto chunk = co_await w.stream.recv();
                    REQUIRE(chunk.has_value());
                    got += chunk->text();
                }
                CHECK(got == "abc");
            },
            options);
        CHECK(outcome.net.buffers_total == s.expected);
    }
}

TEST_CASE("buffer: the kernel is offered a few, more under load, and few again") {
    reactor_options options;
    options.recv_buffers = 64;
    options.recv_buffer_size = 4096;
    options.recv_posted_bytes = 4 * 4096;
    options.recv_posted_most_bytes = 16 * 4096;
    const auto outcome = run_net(
        []() -> task<> {
            wire w = co_await make_wire();
            reactor& home = *reactor::current();
            CHECK(net_stats_of(home).buffers_posted == 4);
            CHECK(net_stats_of(home).buffers_kernel == 64);
            // Held all at once, so that a buffer that is used up is not the next one again.
            sluice::buffer_chain held;
            const std::string text(32 * 4096, 'x');
            CHECK(w.peer.send(text));
            while (held.size() < text.size()) {
                auto chunk = co_await w.stream.recv();
                REQUIRE(chunk.has_value());
                CHECK(chunk->text().find_first_not_of('x') == std::string::npos);
                held.append(std::move(*chunk));
            }
            CHECK(net_stats_of(home).buffers_posted > 4);
            CHECK(net_stats_of(home).buffers_posted <= 16);
            CHECK(net_stats_of(home).heap_receives == 0);
            held = {};
            CHECK(net_stats_of(home).buffers_kernel == 64);
            // Small messages for thousands of turns: what is in the ring is used before it is less.
            const auto used = static_cast<std::size_t>(64 * 4096);
            const std::string small(256, 'y');
            for (std::size_t sent = 0; sent < used; sent += small.size())
                static_cast<void>(co_await received(w, small));
            const std::uint64_t idle_until = home.stats().turns + 8 * 1024;
            while (home.stats().turns < idle_until) co_await sluice::yield();
            for (std::size_t sent = 0; sent < used; sent += small.size())
                static_cast<void>(co_await received(w, small));
            CHECK(net_stats_of(home).buffers_posted == 4);
        },
        options);
    CHECK(outcome.net.enobufs <= 4);
}

TEST_SUITE_END();
