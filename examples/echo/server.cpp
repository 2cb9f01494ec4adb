// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <spdlog/fmt/fmt.h>

#include <chrono>
#include <cstdio>

namespace echo {

using namespace sluice;

task<> server::run(reactor& home) {
    auto listener = tcp_listener::open(home, listeners_);
    counters& mine = cores_[home.index()];
    // The publisher goes on for as long as connections do.
    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&] { return publish(home); });
        if (home.index() == 0 && options_.stats.count() > 0) scope.spawn([&] { return print(); });
        auto served =
            co_await serve(listener, [&](tcp_stream conn) { return echo(std::move(conn), mine); });
        if (!served)
            std::fprintf(stderr, "accepting failed: %s\n", served.error().message().c_str());
        scope.request_stop();
    }));
}

task<> server::echo(tcp_stream conn, counters& mine) {
    const bool limited = options_.idle_timeout.count() > 0;
    const auto idle =
        limited ? std::chrono::nanoseconds(options_.idle_timeout) : std::chrono::nanoseconds::max();
    while (auto chunk = co_await with_timeout(idle, conn.recv())) {
        message_received(mine, chunk->size());
        auto sent = co_await conn.send_all(std::move(*chunk));
        if (!sent) break;
    }
}

void server::message_received(counters& mine, std::size_t) {
    mine.messages.fetch_add(1, std::memory_order_relaxed);
    if (options_.exit_after_messages == 0) return;
    if (left_until_exit_.fetch_sub(1, std::memory_order_relaxed) == 1) service_.request_stop();
}

// Copies the reactor's own counters to where another thread may read them.
task<> server::publish(reactor& home) {
    counters& mine = cores_[home.index()];
    for (;;) {
        const net_stats net = net_stats_of(home);
        mine.bytes_in.store(net.bytes_in, std::memory_order_relaxed);
        mine.bytes_out.store(net.bytes_out, std::memory_order_relaxed);
        mine.connections.store(net.open, std::memory_order_relaxed);
        mine.enobufs.store(net.enobufs, std::memory_order_relaxed);
        mine.capped.store(net.capped, std::memory_order_relaxed);
        mine.enters.store(home.stats().enters, std::memory_order_relaxed);
        if (options_.stats.count() == 0) co_return;
        auto slept = co_await sleep_for(options_.stats / 2);
        if (!slept) co_return;
    }
}

namespace {

struct totals {
    std::uint64_t messages = 0, bytes_in = 0, bytes_out = 0, connections = 0, enters = 0,
                  enobufs = 0, capped = 0;
};

totals sum(const std::vector<counters>& cores) {
    totals t;
    for (const counters& c : cores) {
        t.messages += c.messages.load(std::memory_order_relaxed);
        t.bytes_in += c.bytes_in.load(std::memory_order_relaxed);
        t.bytes_out += c.bytes_out.load(std::memory_order_relaxed);
        t.connections += c.connections.load(std::memory_order_relaxed);
        t.enters += c.enters.load(std::memory_order_relaxed);
        t.enobufs += c.enobufs.load(std::memory_order_relaxed);
        t.capped += c.capped.load(std::memory_order_relaxed);
    }
    return t;
}

double per(std::uint64_t amount, double divisor) {
    return divisor > 0 ? static_cast<double>(amount) / divisor : 0;
}

}  // namespace

task<> server::print() {
    totals before = sum(cores_);
    auto since = std::chrono::steady_clock::now();
    for (;;) {
        auto slept = co_await sleep_for(options_.stats);
        if (!slept) co_return;
        const totals now = sum(cores_);
        const auto at = std::chrono::steady_clock::now();
        const double seconds = std::chrono::duration<double>(at - since).count();
        const std::uint64_t messages = now.messages - before.messages;
        fmt::print("connections {} | messages/s {:.0f} | MB/s in {:.1f} out {:.1f} | "
                   "enters/message {:.3f} | ENOBUFS {} | capped {}\n",
                   now.connections, per(messages, seconds),
                   per(now.bytes_in - before.bytes_in, seconds * 1e6),
                   per(now.bytes_out - before.bytes_out, seconds * 1e6),
                   per(now.enters - before.enters, static_cast<double>(messages)), now.enobufs,
                   now.capped);
        std::fflush(stdout);
        before = now;
        since = at;
    }
}

std::uint64_t server::messages() const { return sum(cores_).messages; }

}  // namespace echo
