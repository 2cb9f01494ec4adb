// SPDX-License-Identifier: Apache-2.0
//! The production code under ten thousand worlds: random traffic, random sizes, random faults.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "sim/echo_traffic.hpp"
#include "sim/seeds.hpp"
#include "sluice/net_stats.hpp"
#include "sluice/zcrx_stats.hpp"

using namespace sluice;
using namespace sluice::sim;

namespace {

constexpr std::uint64_t seeds = 10'000;
constexpr std::uint64_t zero_copy_share = 3;  // one in so many worlds has an rx queue

template <class T>
T one_of(sim_kernel& sim, std::initializer_list<T> choices) {
    return choices.begin()[sim.random().below(choices.size())];
}

void choose_world(sim_kernel& sim) {
    sim_options& o = sim.options();
    o.kernel = sim.random().chance(0.5) ? kernel_6_18() : kernel_6_1();
    o.send_buffer = one_of<std::size_t>(sim, {700, 4096, 65536});
    o.receive_buffer = one_of<std::size_t>(sim, {700, 4096, 65536});
    o.segment_bytes = one_of<std::size_t>(sim, {100, 1460, 16384});
    o.latency_max = one_of<std::int64_t>(sim, {20'000, 200'000, 3'000'000});
    o.late_notice_time = one_of<std::int64_t>(sim, {50'000, 2'000'000, 100'000'000});
    o.copied_rate = one_of(sim, {0.0, 0.0, 0.1, 1.0});
    o.lockable = one_of<std::size_t>(sim, {0, std::size_t{1} << 30});
    o.call_limit = 3'000'000;
}

reactor_options choose_reactor(sim_kernel& sim) {
    reactor_options o;
    o.sq_entries = one_of<std::uint32_t>(sim, {2, 8, 64});
    o.cq_entries = one_of<std::uint32_t>(sim, {64, 64, 256});
    if (sim.random().chance(0.3)) o.cq_entries = o.sq_entries;  // overflows
    o.await_budget = one_of<std::uint32_t>(sim, {1, 4, 64});
    o.ready_turn = one_of<std::uint32_t>(sim, {1, 16, 1024});
    o.min_wait = std::chrono::microseconds(one_of(sim, {0, 0, 100}));
    o.min_wait_completions = 4;
    o.recv_buffers = one_of<std::uint32_t>(sim, {1, 2, 4, 16});
    o.recv_buffer_size = one_of<std::uint32_t>(sim, {128, 1024, 4096});
    o.recv_posted_bytes = one_of<std::uint32_t>(sim, {0, 2048, 1 << 20});
    o.max_pending_bytes = one_of<std::uint32_t>(sim, {500, 4096, 65536});
    o.max_pinned_bytes = one_of<std::uint32_t>(sim, {1024, 16384, 1 << 20});
    o.copy_out_below = one_of<std::uint32_t>(sim, {0, 256, 4096});
    o.registered_descriptors = sim.random().chance(0.2);
    o.registered_descriptor_slots = one_of<std::uint32_t>(sim, {16, 64});
    o.zero_copy_send_from = one_of<std::uint32_t>(sim, {0, 1, 1, 100, 1000});
    o.zero_copy_send_despite_copies = sim.random().chance(0.5);
    o.max_held_sends_per_connection = one_of<std::uint32_t>(sim, {1, 3, 64});
    o.max_held_bytes_per_connection = one_of<std::uint64_t>(sim, {1000, 4096, 1 << 20});
    o.registered_buffer_slots = one_of<std::uint32_t>(sim, {0, 1, 64});
    return o;
}

//! Whatever resets a connection that somebody may still read from.
void choose_impatience(sim_kernel& sim, reactor_options& o) {
    o.max_held_sends = one_of<std::uint32_t>(sim, {1, 4, 4096});
    o.max_held_bytes = one_of<std::uint64_t>(sim, {1000, 10'000, 1 << 20});
    o.held_send_timeout = std::chrono::milliseconds(one_of(sim, {0, 1, 50, 60'000}));
    o.held_send_stop_timeout = std::chrono::milliseconds(one_of(sim, {0, 1, 1000}));
    sim.options().stuck_notice_rate = one_of(sim, {0.0, 0.0, 0.01, 0.3});
}

//! A device-less rx queue, too small for what is to go through it.
void choose_rx_queue(sim_kernel& sim, reactor_options& o) {
    sim.options().kernel = kernel_7_3();
    sim.options().kernel.cqe_mixed = sim.random().chance(0.8);
    if (sim.random().chance(0.2)) sim.options().kernel.zcrx_control = 3;  // an area can't grow
    sim.options().lockable = std::max<std::size_t>(sim.options().lockable, 1 << 20);
    constexpr std::size_t chunk = 4096;
    o.zcrx.device_less = true;
    o.zcrx.pages = page_kind::small;
    o.zcrx.area_bytes = chunk * one_of<std::size_t>(sim, {1, 2, 3, 8, 64});
    o.zcrx.max_area_bytes = o.zcrx.area_bytes * one_of<std::size_t>(sim, {0, 1, 2, 5});
    o.zcrx.refill_entries = one_of<std::uint32_t>(sim, {0, 1, 2, 8});
    o.zcrx.posted_chunks = one_of<std::uint32_t>(sim, {0, 0, 1});
    o.zcrx.reactors_per_queue = one_of<std::uint32_t>(sim, {1, 1, 2});
    o.zcrx.copy_always_below = one_of<std::uint32_t>(sim, {0, 0, 100, 2048});
    o.zcrx.max_leases_per_connection = one_of<std::uint32_t>(sim, {0, 0, 1, 4, 64});
    o.zcrx.marks.small_copy = one_of<std::uint32_t>(sim, {0, 25, 100});
    o.zcrx.marks.full_copy = one_of<std::uint32_t>(sim, {0, 12, 50});
    o.zcrx.marks.evacuate = one_of<std::uint32_t>(sim, {0, 0, 6, 30});
    o.zcrx.marks.margin = one_of<std::uint32_t>(sim, {0, 12, 100});
    o.heap_receive_size = one_of<std::uint32_t>(sim, {1, 500, 16384});
    if (sim.random().chance(0.3)) o.cq_entries = one_of<std::uint32_t>(sim, {1, 4, 16});
}

echo_traffic::plan choose_traffic(sim_kernel& sim) {
    echo_traffic::plan p;
    p.clients = static_cast<unsigned>(sim.random().below(5));
    p.peers = static_cast<unsigned>(sim.random().below(4));
    p.bytes = one_of<std::size_t>(sim, {300, 5000, 20000});
    p.rough = sim.random().chance(0.4);
    if (sim.random().chance(0.15))
        p.stop_after = std::chrono::microseconds(sim.random().between(1, 20'000));
    p.abandon = sim.random().chance(0.3);
    return p;
}

void choose_faults(sim_kernel& sim, const echo_traffic::plan& p) {
    fault_plan& faults = sim.faults();
    if (sim.random().chance(0.3)) return;
    faults.set_rate(one_of(sim, {0.005, 0.02, 0.1}));
    faults.set_enter_rate(one_of(sim, {0.0, 0.01, 0.1}));
    faults.allow(fault_kind::reset, p.rough);
}

void check_books(sim_kernel& sim, reactor& home) {
    const reactor_stats r = home.stats();
    const net_stats n = net_stats_of(home);
    const auto zero = [&](const char* what, std::int64_t count) {
        sim.expect(count == 0, std::string(what) + ": " + std::to_string(count));
    };
    zero("live operations", static_cast<std::int64_t>(r.live_operations));
    zero("live frames", r.live_frames);
    zero("live timers", static_cast<std::int64_t>(r.live_timers));
    zero("open connections", static_cast<std::int64_t>(n.open));
    zero("rx_buffer handles", n.buffers_lent);
    zero("zero-copy sends", static_cast<std::int64_t>(n.held_sends));
    zero("bytes of zero-copy sends", static_cast<std::int64_t>(n.held_bytes));
    zero("lingering connections", static_cast<std::int64_t>(n.lingering));
    const auto kept_back = static_cast<std::int64_t>(n.buffers_total - n.buffers_posted);
    zero("buffers with the kernel, less those that are posted",
         static_cast<std::int64_t>(sim.held_buffers() - n.buffers_posted));
    sim.expect(static_cast<std::int64_t>(sim.lent_buffers()) <= kept_back,
               "buffers are neither posted nor kept back");
    zero("buffers that are neither posted nor kept back",
         static_cast<std::int64_t>(n.buffers_total - n.buffers_kernel));
    const auto z = zcrx_stats_of(home);
    zero("handles of chunks", z.handles);
    // What is destroyed with an abandoned reactor needs no place in the refill queue any more.
    const std::uint64_t held = home.abandoned() ? z.tokens_held : 0;
    const std::uint64_t posted = home.options().zcrx.posted_chunks;
    zero("tokens held", static_cast<std::int64_t>(z.tokens_held - held));
    zero("chunks not with the kernel, by its count",
         static_cast<std::int64_t>(sim.lent_chunks() - held));
    if (z.in_use)
        zero("chunks that are out", static_cast<std::int64_t>(z.chunks_out - posted - held));
}

//! At every moment, and so at the end of each turn.
void watch_books(sim_kernel& sim, reactor& home) {
    sim.on_enter([&] {
        const auto s = zcrx_stats_of(home);
        sim.expect(s.balanced(), "the books of the rx queue do not balance: delivered " +
                                     std::to_string(s.tokens_delivered) + ", held " +
                                     std::to_string(s.tokens_held) + ", returned " +
                                     std::to_string(s.tokens_returned));
        // What has been delivered and not been looked at yet is with the program too.
        sim.expect(s.tokens_held <= sim.lent_chunks(), "tokens are held that nobody has lent");
    });
}

void one_world(sim_kernel& sim, bool proxied) {
    choose_world(sim);
    reactor_options options = choose_reactor(sim);
    echo_traffic::plan plan = choose_traffic(sim);
    plan.proxied = proxied;
    if (plan.rough) choose_impatience(sim, options);
    if (proxied) options.registered_descriptor_slots = 64;  // each client needs four
    choose_faults(sim, plan);
    if (sim.seed() % zero_copy_share == 0) {
        choose_rx_queue(sim, options);
        plan.holders = true;
    }
    {
        auto made = reactor::create_on(sim, options);
        sim.expect(made.has_value(), "no reactor");
        reactor& home = **made;
        watch_books(sim, home);
        echo_traffic traffic(sim, home, plan);
        traffic.run();
        check_books(sim, home);
        sim.on_enter(nullptr);
    }
    const std::string left = sim.check_clean();
    sim.expect(left.empty(), "left behind:\n" + left);
    sim.expect(sim.books().requests == 0, "requests are left");
}

}  // namespace

TEST_CASE("seeds: echo traffic with every byte checked") {
    CHECK(for_each_seed(1, seeds, [](sim_kernel& sim) { one_world(sim, false); }) == 0);
}

TEST_CASE("seeds: the same through a proxy") {
    CHECK(for_each_seed(1, seeds, [](sim_kernel& sim) { one_world(sim, true); }) == 0);
}
