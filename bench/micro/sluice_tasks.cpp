// SPDX-License-Identifier: Apache-2.0
/// Operations of coroutines on a reactor.
#include <sluice/sluice.hpp>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "measure.hpp"

namespace micro {

namespace {

using namespace sluice;
using namespace std::chrono_literals;

/// Runs `work(reactor&)` on the first of `cores` reactors, which gives nanoseconds each.
template <class Work>
double on_reactors(unsigned cores, Work work) {
    service_options options;
    options.cpus = usable_cpus();
    // With one CPU only, the reactors share it.
    options.cpus.resize(cores, options.cpus.front());
    service all(options);
    double each = 0;
    const auto report = all.run([&](reactor& home) -> task<> {
        if (home.index() == 0) each = co_await work();
    });
    if (!report) {
        std::fprintf(stderr, "%s\n", explain_ring_error(report.error()).c_str());
        std::exit(1);
    }
    return each;
}

__attribute__((noinline)) task<int> child(int value) { co_return value; }

task<double> await_child() {
    constexpr int count = 2'000'000;
    const stopwatch since;
    for (int i = 0; i < count; ++i) keep(co_await child(i));
    co_return since.ns_each(count);
}

task<double> through_run_queue() {
    constexpr int count = 2'000'000;
    const stopwatch since;
    for (int i = 0; i < count; ++i) co_await yield();
    co_return since.ns_each(count);
}

task<> nothing() { co_return; }

task<double> spawn_and_join() {
    constexpr int count = 300'000;
    const stopwatch since;
    for (int i = 0; i < count; ++i)
        static_cast<void>(co_await with_nursery([](nursery& scope) -> task<> {
            scope.spawn(nothing);
            co_return;
        }));
    co_return since.ns_each(count);
}

task<double> spawn_in_one_nursery() {
    constexpr int count = 300'000;
    const stopwatch since;
    static_cast<void>(co_await with_nursery([](nursery& scope) -> task<> {
        for (int i = 0; i < count; ++i) scope.spawn(nothing);
        co_return;
    }));
    co_return since.ns_each(count);
}

constexpr int hops = 400'000;

task<> send_all_of(channel<int>& to) {
    for (int i = 0; i < hops; ++i) static_cast<void>(co_await to.send(i));
    to.close();
}

template <bool limited>
task<> receive_all_of(channel<int>& from) {
    for (;;) {
        if constexpr (limited) {
            auto got = co_await with_timeout(1h, from.recv());
            if (!got) co_return;
        } else {
            auto got = co_await from.recv();
            if (!got) co_return;
        }
    }
}

template <bool limited>
task<double> channel_hop() {
    channel<int> between(1);
    const stopwatch since;
    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&] { return receive_all_of<limited>(between); });
        scope.spawn([&] { return send_all_of(between); });
        co_return;
    }));
    co_return since.ns_each(hops);
}

task<double> round_trip() {
    constexpr int count = 20'000;
    const wall_clock since;
    for (int i = 0; i < count; ++i) static_cast<void>(co_await on(1, [] { return 1; }));
    co_return since.ns_each(count);
}

task<double> fiber_switch() {
    constexpr int count = 400'000;
    auto each = co_await fiber::run([] {
        const stopwatch since;
        for (int i = 0; i < count; ++i) fiber::await(yield());
        // Away from the fiber and back again.
        return since.ns_each(2 * count);
    });
    co_return each ? *each : 0;
}

}  // namespace

void add_sluice_tasks(std::vector<operation>& to) {
    // Each reactor would tell what it uses of the kernel.
    static_cast<void>(set_log_level("warning"));
    const auto add = [&to](const char* name, unsigned cores, task<double> (*work)()) {
        to.push_back({name, "sluice", [cores, work] { return on_reactors(cores, work); }});
    };
    add("await of a ready child", 1, await_child);
    add("once through the run queue", 1, through_run_queue);
    add("spawn + join", 1, spawn_and_join);
    add("spawn, joined together", 1, spawn_in_one_nursery);
    add("channel hop", 1, channel_hop<false>);
    add("channel hop, with_timeout around the receive", 1, channel_hop<true>);
    add("cross-core round trip", 2, round_trip);
    add("fiber switch, with the run queue", 1, fiber_switch);
}

}  // namespace micro
