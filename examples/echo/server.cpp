// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <spdlog/fmt/fmt.h>

#include <chrono>
#include <cstdio>

#include "../common/figures.hpp"

namespace echo {

using namespace sluice;

task<> server::run(reactor& home) {
    core& mine = cores_[home.index()];
    const auto begin = [&](nursery& scope) {
        if (options_.stats.count() <= 0) return;
        scope.spawn([&] { return publish(home); });
        if (home.index() == 0) scope.spawn([&] { return print(); });
    };
    co_await serve_on(home, begin, [&mine](tcp_stream conn) { return mine.echo(std::move(conn)); });
}

// Most of the time a connection is this coroutine's frame, so it is kept small.
task<> core::echo(tcp_stream conn) {
    while (auto chunk = co_await with_timeout(whole->idle_, [&] { return conn.recv(); })) {
        count_message();
        auto sent =
            co_await with_timeout(whole->idle_, [&] { return conn.send_all(std::move(*chunk)); });
        if (!sent) break;
    }
}

void core::count_message() {
    ++messages;
    if (whole->options_.exit_after_messages == 0) return;
    if (whole->left_until_exit_.fetch_sub(1, std::memory_order_relaxed) == 1)
        whole->home_service().request_stop();
}

task<> server::publish(reactor& home) {
    core& mine = cores_[home.index()];
    for (;;) {
        const net_stats net = net_stats_of(home);
        {
            const std::lock_guard lock(mine.mutex);
            mine.published = {.messages = mine.messages,
                              .bytes_in = net.bytes_in,
                              .zero_copy_bytes = net.zero_copy_bytes,
                              .bytes_out = net.bytes_out,
                              .connections = net.open,
                              .enters = home.stats().enters,
                              .enobufs = net.enobufs,
                              .capped = net.capped};
        }
        auto slept = co_await sleep_for(options_.stats / 10);
        if (!slept) co_return;
    }
}

figures server::sum_of_published() {
    figures sum;
    for (core& c : cores_) {
        const std::lock_guard lock(c.mutex);
        sum.messages += c.published.messages;
        sum.bytes_in += c.published.bytes_in;
        sum.zero_copy_bytes += c.published.zero_copy_bytes;
        sum.bytes_out += c.published.bytes_out;
        sum.connections += c.published.connections;
        sum.enters += c.published.enters;
        sum.enobufs += c.published.enobufs;
        sum.capped += c.published.capped;
    }
    return sum;
}

task<> server::print() {
    figures before = sum_of_published();
    auto since = std::chrono::steady_clock::now();
    for (;;) {
        auto slept = co_await sleep_for(options_.stats);
        if (!slept) co_return;
        const figures now = sum_of_published();
        const auto at = std::chrono::steady_clock::now();
        const double seconds = std::chrono::duration<double>(at - since).count();
        const std::uint64_t messages = now.messages - before.messages;
        fmt::print("connections {} | messages/s {:.0f} | MB/s in {:.1f} out {:.1f} | "
                   "zero copy {:.0f} % | enters/message {:.3f} | ENOBUFS {} | capped {}\n",
                   now.connections, demo::per(messages, seconds),
                   demo::per(now.bytes_in - before.bytes_in, seconds * 1e6),
                   demo::per(now.bytes_out - before.bytes_out, seconds * 1e6),
                   demo::percent(now.zero_copy_bytes - before.zero_copy_bytes,
                                 now.bytes_in - before.bytes_in),
                   demo::per(now.enters - before.enters, static_cast<double>(messages)),
                   now.enobufs, now.capped);
        std::fflush(stdout);
        before = now;
        since = at;
    }
}

std::uint64_t server::messages() const {
    std::uint64_t sum = 0;
    for (const core& c : cores_) sum += c.messages;
    return sum;
}

}  // namespace echo
