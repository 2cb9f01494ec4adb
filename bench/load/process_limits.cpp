// SPDX-License-Identifier: Apache-2.0
#include "process_limits.hpp"

#include "failure.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <string>

namespace sluice_load {

namespace {

constexpr rlim_t descriptors_per_thread = 8;
constexpr rlim_t descriptors_besides = 32;

double seconds(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

void ensure_descriptors(std::uint64_t connections, unsigned threads) {
    const rlim_t needed = connections + threads * descriptors_per_thread + descriptors_besides;
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= needed) return;
    if (limit.rlim_max >= needed) {
        limit.rlim_cur = limit.rlim_max;
        if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
    }
    throw fatal_error("too few descriptors: " + std::to_string(connections) + " connections need " +
                      std::to_string(needed) + ", the hard limit is " +
                      std::to_string(limit.rlim_max) + ": raise it (ulimit -Hn " +
                      std::to_string(needed) + "), use fewer --connections, or several processes");
}

void check_cpus(const std::vector<int>& cpus) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    for (const int cpu : cpus) {
        if (CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) continue;
        throw fatal_error("--cpu-list: processor " + std::to_string(cpu) +
                          " is not available to this process: choose others (see taskset -p $$)");
    }
}

void pin_this_thread(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
}

double process_cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace sluice_load
