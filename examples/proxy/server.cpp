// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "../common/figures.hpp"

namespace proxy {

using namespace sluice;
using namespace std::chrono_literals;

figures& figures::operator+=(const figures& o) noexcept {
    served += o.served;
    refused += o.refused;
    failures += o.failures;
    bytes.a_to_b += o.bytes.a_to_b;
    bytes.b_to_a += o.bytes.b_to_a;
    turns += o.turns;
    enters += o.enters;
    enobufs += o.enobufs;
    capped += o.capped;
    return *this;
}

namespace {

//! A failure to connect for which the upstream is not to blame, so that another would not help.
bool is_our_own(const boost::system::error_code& e) {
    using boost::system::errc::errc_t;
    for (const errc_t ours :
         {errc_t::operation_canceled, errc_t::too_many_files_open, errc_t::not_enough_memory,
          errc_t::too_many_files_open_in_system, errc_t::no_buffer_space,
          errc_t::address_not_available, errc_t::operation_not_permitted})
        if (e == ours) return true;
    return false;
}

}  // namespace

task<> server::run(reactor& home) {
    figures& mine = cores_[home.index()].done;
    const auto begin = [&](nursery& scope) {
        if (home.index() != 0 || options_.stats <= 0ms) return;
        scope.spawn([&] {
            return demo::say_figures<figures>(
                home, home_service(), options_.stats, [this](reactor& r) { return now_of(r); },
                [this, &home](const figures& now, const figures& before, double seconds) {
                    say(home, now, before, seconds);
                });
        });
    };
    co_await serve_on(home, begin, [&](tcp_stream conn) { return client(std::move(conn), mine); });
}

task<> server::client(tcp_stream conn, figures& mine) {
    auto upstream = co_await reach(conn.home(), mine);
    if (!upstream) {
        refuse(conn, upstream.error(), mine);
        co_return;
    }
    copy_options how;
    how.max_leases = options_.max_leases;
    how.idle_timeout = options_.idle_timeout;
    how.totals = &mine.bytes;
    ++mine.served;
    static_cast<void>(co_await copy_bidirectional(conn, upstream->stream, how));
}

// Nothing has been read from the client yet, so that any upstream will do.
task<result<server::reached>> server::reach(reactor& home, figures& mine) {
    std::vector<bool> tried(upstreams_.count());
    boost::system::error_code last;
    while (auto at = upstreams_.next(tried, home.now())) {
        connect_options how;
        how.timeout = options_.connect_timeout;
        how.to_own_queue = options_.own_queue;
        auto connected = co_await tcp_stream::connect(at->address(), how);
        if (connected) {
            if (at->works()) logger()->info("{} answers again", at->address().to_string());
            co_return reached{std::move(*at), std::move(*connected)};
        }
        last = connected.error();
        if (is_our_own(last)) break;
        ++mine.failures;
        if (at->fails(home.now() + options_.upstream_pause))
            logger()->warn("{} does not answer: {}", at->address().to_string(), last.message());
    }
    co_return last;
}

void server::refuse(tcp_stream& conn, const boost::system::error_code& why, figures& mine) {
    const std::int64_t now = conn.home().now().time_since_epoch().count();
    conn.abort();
    if (why == cancelled_error()) return;  // the service ends
    ++mine.refused;
    auto next = next_complaint_.load();
    const std::int64_t then = now + reactor::clock::duration(1s).count();
    if (now >= next && next_complaint_.compare_exchange_strong(next, then))
        logger()->warn("clients are refused, no upstream can be reached: {}", why.message());
}

figures server::now_of(reactor& home) const {
    figures all = cores_[home.index()].done;
    const reactor_stats runtime = home.stats();
    const net_stats net = net_stats_of(home);
    all.turns = runtime.turns;
    all.enters = runtime.enters;
    all.enobufs = net.enobufs;
    all.capped = net.capped;
    return all;
}

void server::say(reactor& home, const figures& now, const figures& before, double seconds) const {
    using demo::per;
    fmt::print("connections {} | MB/s up {:.1f} down {:.1f} | upstream failures {} | "
               "refused {} | enters/turn {:.3f} | ENOBUFS {} | capped {} | {}\n",
               upstreams_.connections(), per(now.bytes.a_to_b - before.bytes.a_to_b, seconds * 1e6),
               per(now.bytes.b_to_a - before.bytes.b_to_a, seconds * 1e6), now.failures,
               now.refused,
               per(now.enters - before.enters, static_cast<double>(now.turns - before.turns)),
               now.enobufs, now.capped, upstreams_.to_string(home.now()));
}

figures server::total() const {
    figures sum;
    for (const core& c : cores_) sum += c.done;
    return sum;
}

}  // namespace proxy
