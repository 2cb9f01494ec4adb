// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <chrono>
#include <cstdio>

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

double per(std::uint64_t amount, double divisor) {
    return divisor > 0 ? static_cast<double>(amount) / divisor : 0;
}

}  // namespace

task<> server::run(reactor& home) {
    auto listener = tcp_listener::open(home, succession_.listeners());
    if (!listener) {
        fail(explain_receive_error(listener.error(), home));
        co_return;
    }
    figures& mine = cores_[home.index()].done;
    if (started_.fetch_add(1, std::memory_order_relaxed) + 1 == cores_.size()) announce();
    // The printer goes on for as long as connections do.
    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
        if (home.index() == 0 && options_.stats > 0ms) scope.spawn([&] { return print(home); });
        succession_.run_in(scope, home, service_);
        auto served = co_await serve(
            *listener, [&](tcp_stream conn) { return client(std::move(conn), mine); });
        if (!served) fail("accepting failed: " + served.error().message());
        scope.request_stop();
    }));
    received_.add(home);
}

void server::announce() const {
    std::printf("listening on %s with %u reactors\n",
                succession_.listeners().local().to_string().c_str(), service_.reactors());
    std::fflush(stdout);
}

// One reactor's failure ends the service: the others would serve a part of the connections only.
void server::fail(const std::string& why) {
    if (!failed_.exchange(true)) std::fprintf(stderr, "sluice-proxy: %s\n", why.c_str());
    service_.request_stop();
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

task<> server::print(reactor& home) {
    std::vector<figures> latest(cores_.size());
    figures before;
    auto since = home.now();
    for (;;) {
        auto slept = co_await sleep_for(options_.stats);
        if (!slept) co_return;
        auto asked = gather(
            service_, [this](reactor& r) { return now_of(r); }, options_.stats);
        auto answers = co_await std::move(asked);
        if (!answers) co_return;
        figures now;
        for (std::size_t i = 0; i < latest.size(); ++i) {
            latest[i] = (*answers)[i].value_or(latest[i]);
            now += latest[i];
        }
        const double seconds = std::chrono::duration<double>(home.now() - since).count();
        fmt::print(
            "connections {} | MB/s up {:.1f} down {:.1f} | upstream failures {} | "
            "refused {} | enters/turn {:.3f} | ENOBUFS {} | capped {} | {}\n",
            upstreams_.connections(), per(now.bytes.a_to_b - before.bytes.a_to_b, seconds * 1e6),
            per(now.bytes.b_to_a - before.bytes.b_to_a, seconds * 1e6), now.failures, now.refused,
            per(now.enters - before.enters, static_cast<double>(now.turns - before.turns)),
            now.enobufs, now.capped, upstreams_.to_string(home.now()));
        std::fflush(stdout);
        before = now;
        since = home.now();
    }
}

figures server::total() const {
    figures sum;
    for (const core& c : cores_) sum += c.done;
    return sum;
}

}  // namespace proxy
