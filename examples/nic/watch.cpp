// SPDX-License-Identifier: Apache-2.0
#include "watch.hpp"

#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <thread>

#include <nlohmann/json.hpp>
#include <sluice/nic.hpp>

namespace nic {

namespace {

using clock = std::chrono::steady_clock;
using count = std::optional<std::uint64_t>;

struct sample {
    sluice::nic_state state;
    clock::time_point at;
};

sluice::nic_result<sample> take(const std::string& interface) {
    auto state = sluice::inspect_nic(interface);
    if (!state) return state.error();
    return sample{std::move(*state), clock::now()};
}

//! A second's worth; nothing where a counter is missing. One that went back began anew.
count rate(count before, count now, double seconds) {
    if (!before || !now) return std::nullopt;
    const std::uint64_t more = *now >= *before ? *now - *before : *now;
    return static_cast<std::uint64_t>(std::llround(static_cast<double>(more) / seconds));
}

std::string text(count n) { return n ? std::to_string(*n) : "-"; }

nlohmann::json number(count n) { return n ? nlohmann::json(*n) : nlohmann::json(); }

struct row {
    const sluice::nic_queue& queue;
    count packets, bits, alloc_failures, drops;
};

row compare(const sluice::nic_queue& before, const sluice::nic_queue& now, double seconds) {
    const auto& b = before.counters;
    const auto& n = now.counters;
    count bits = rate(b.bytes, n.bytes, seconds);
    if (bits) *bits *= 8;
    return {now, rate(b.packets, n.packets, seconds), bits,
            rate(b.alloc_failures, n.alloc_failures, seconds),
            rate(b.hardware_drops, n.hardware_drops, seconds)};
}

void print_line(const row& r) {
    std::printf("%5u %-16s %12s %14s %12s %12s %12s\n", r.queue.id, sluice::name_of(r.queue.use),
                text(r.packets).c_str(), text(r.bits).c_str(), text(r.alloc_failures).c_str(),
                text(r.drops).c_str(), text(r.queue.counters.buffers_out).c_str());
}

nlohmann::json to_json(const row& r) {
    return {{"queue", r.queue.id},
            {"use", sluice::name_of(r.queue.use)},
            {"packets_per_second", number(r.packets)},
            {"bits_per_second", number(r.bits)},
            {"alloc_failures_per_second", number(r.alloc_failures)},
            {"hardware_drops_per_second", number(r.drops)},
            {"buffers_out", number(r.queue.counters.buffers_out)}};
}

void print(const sample& before, const sample& now, bool json) {
    const double seconds = std::chrono::duration<double>(now.at - before.at).count();
    std::map<unsigned, const sluice::nic_queue*> earlier;
    for (const auto& queue : before.state.queues) earlier[queue.id] = &queue;
    nlohmann::json rows = nlohmann::json::array();
    if (!json)
        std::printf("%5s %-16s %12s %14s %12s %12s %12s\n", "queue", "used by", "packets/s",
                    "bit/s", "no buffer/s", "dropped/s", "buffers out");
    for (const auto& queue : now.state.queues) {
        const auto found = earlier.find(queue.id);
        const row r = compare(found == earlier.end() ? queue : *found->second, queue, seconds);
        if (json)
            rows.push_back(to_json(r));
        else
            print_line(r);
    }
    if (json) std::printf("%s\n", rows.dump().c_str());
    std::fflush(stdout);
}

}  // namespace

sluice::nic_result<> watch(const std::string& interface, const watch_options& how) {
    auto before = take(interface);
    if (!before) return before.error();
    if (before->state.queues.empty())
        return sluice::nic_failure{"the kernel tells no queues of " + interface +
                                   ": it has to be 6.8 or newer, and the link up"};
    for (unsigned i = 0; how.count == 0 || i < how.count; ++i) {
        std::this_thread::sleep_for(how.interval);
        auto now = take(interface);
        if (!now) return now.error();
        print(*before, *now, how.json);
        before = std::move(now);
    }
    return {};
}

}  // namespace nic
