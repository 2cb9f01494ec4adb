// SPDX-License-Identifier: Apache-2.0
/// What the micro-benchmarks share: an operation that is measured is a function that does it some
/// number of times and says how many nanoseconds each took.
#pragma once

#include <time.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace micro {

struct operation {
    std::string name;
    std::string contestant;
    std::function<double()> ns_each;
};

/// CPU time of this thread, so that other work of the machine counts as little as it can.
class stopwatch {
public:
    [[nodiscard]] double ns_each(int count) const { return (now() - began_) / count; }

private:
    static double now() {
        timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
    }

    double began_ = now();
};

/// For what waits for another core.
class wall_clock {
public:
    [[nodiscard]] double ns_each(int count) const {
        const auto took = std::chrono::steady_clock::now() - began_;
        return std::chrono::duration<double, std::nano>(took).count() / count;
    }

private:
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

/// Keeps the compiler from leaving out what gives `value`.
template <class T>
void keep(const T& value) {
    __asm__ volatile("" : : "m"(value) : "memory");
}

inline constexpr int many_timers = 1'000'000;

void add_sluice_tasks(std::vector<operation>& to);
void add_sluice_parts(std::vector<operation>& to);
void add_sluice_net(std::vector<operation>& to);
void add_asio(std::vector<operation>& to);

}  // namespace micro
