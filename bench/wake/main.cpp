// SPDX-License-Identifier: Apache-2.0
// What a call from one reactor to another costs with each way of waking: alternating rounds, the
// medians of all rounds, and system calls counted by the reactors themselves.
//
// usage: sluice-wake-bench [ROUNDS [CALLS]]

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "sluice/cpu_set.hpp"
#include "sluice/log.hpp"
#include "sluice/on.hpp"
#include "sluice/service.hpp"

namespace {

using sluice::reactor;
using sluice::task;
using sluice::wake_method;

struct figures {
    double ns = 0;        // per call
    double syscalls = 0;  // per call, of both reactors
    double wakes = 0;     // per call, of both
    double sqes = 0;
};

task<> one_after_another(int calls) {
    for (int i = 0; i < calls; ++i) static_cast<void>(co_await sluice::on(1, [] { return 1; }));
}

task<> many_at_once(int callers, int calls) {
    static_cast<void>(co_await sluice::with_nursery([=](sluice::nursery& n) -> task<> {
        for (int i = 0; i < callers; ++i) n.spawn(one_after_another, calls / callers);
        co_return;
    }));
}

// Enters, and the writes to eventfds; reading those goes through the ring.
figures measure(wake_method method, int callers, int calls) {
    sluice::service_options options;
    options.cpus = sluice::usable_cpus();
    options.cpus.resize(2, options.cpus.front());
    options.reactor.cross_core_wake = method;
    sluice::service s(options);
    double ns = 0;
    const auto report = s.run([&](reactor& home) -> task<> {
        if (home.index() != 0) co_return;
        co_await many_at_once(callers, calls / 10);  // warms up
        const auto began = std::chrono::steady_clock::now();
        co_await many_at_once(callers, calls);
        ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - began)
                 .count();
    });
    if (!report) std::exit(1);
    figures f;
    f.ns = ns / calls;
    const double all = calls * 1.1;
    for (const auto& r : report->reactors) {
        const auto wakes = static_cast<double>(r.stats.wake_ups_sent);
        f.syscalls += static_cast<double>(r.stats.enters) / all;
        if (method == wake_method::event_fd) f.syscalls += wakes / all;
        f.wakes += wakes / all;
        f.sqes += static_cast<double>(r.stats.sqes) / all;
    }
    return f;
}

double median(std::vector<figures> all, double figures::*what) {
    std::sort(all.begin(), all.end(),
              [what](const figures& a, const figures& b) { return a.*what < b.*what; });
    return all[all.size() / 2].*what;
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 11;
    const int calls = argc > 2 ? std::atoi(argv[2]) : 20'000;
    static_cast<void>(sluice::set_log_level("warning"));
    std::printf("%-10s %-9s %12s %16s %12s %12s\n", "method", "callers", "ns a call",
                "syscalls a call", "wakes", "SQEs");
    for (const int callers : {1, 8, 64}) {
        std::array<std::vector<figures>, 2> all;
        for (int i = 0; i < rounds; ++i) {
            all[0].push_back(measure(wake_method::msg_ring, callers, calls));
            all[1].push_back(measure(wake_method::event_fd, callers, calls));
        }
        for (std::size_t m = 0; m < 2; ++m)
            std::printf("%-10s %-9d %12.0f %16.3f %12.3f %12.3f\n", m == 0 ? "msg_ring" : "eventfd",
                        callers, median(all[m], &figures::ns), median(all[m], &figures::syscalls),
                        median(all[m], &figures::wakes), median(all[m], &figures::sqes));
    }
}
