// SPDX-License-Identifier: Apache-2.0
#include "sluice/cpu_placement.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "runtime/kernel/device_files.hpp"
#include "runtime/kernel/process.hpp"
#include "sluice/cpu_set.hpp"

namespace sluice {

namespace {

constexpr int most_nodes = 1024;

std::optional<int> number_in(const std::string& path) {
    const auto line = detail::first_line(path);
    if (!line) return std::nullopt;
    int number = 0;
    const auto [end, error] = std::from_chars(line->data(), line->data() + line->size(), number);
    if (error != std::errc{}) return std::nullopt;
    return number;
}

//! A CPU's folder has a link to that of its node.
int node_of(const std::string& folder) {
    for (int node = 0; node < most_nodes; ++node)
        if (detail::path_exists(folder + "/node" + std::to_string(node))) return node;
    return -1;
}

const cpu_location* find(const std::vector<cpu_location>& machine, unsigned cpu) {
    const auto at = std::find_if(machine.begin(), machine.end(),
                                 [&](const cpu_location& l) { return l.cpu == cpu; });
    return at == machine.end() ? nullptr : &*at;
}

bool same_core(const cpu_location& a, const cpu_location& b) {
    return a.package == b.package && a.core == b.core;
}

bool contains(const std::vector<unsigned>& all, unsigned one) {
    return std::find(all.begin(), all.end(), one) != all.end();
}

class neighbours {
public:
    neighbours(const std::vector<unsigned>& reactors, const std::vector<cpu_location>& machine)
        : reactors_(reactors), machine_(machine) {}

    unsigned next_to(unsigned cpu) {
        const cpu_location* here = find(machine_, cpu);
        const cpu_location* best = nullptr;
        int best_score = 0;
        for (const cpu_location& l : machine_) {
            if (here == nullptr || l.node != here->node || contains(reactors_, l.cpu)) continue;
            const int score = 1 + 2 * !beside_reactor(l) + !contains(taken_, l.cpu);
            if (score > best_score) {
                best = &l;
                best_score = score;
            }
        }
        const unsigned chosen = best != nullptr ? best->cpu : cpu;
        taken_.push_back(chosen);
        return chosen;
    }

private:
    [[nodiscard]] bool beside_reactor(const cpu_location& l) const {
        return std::any_of(reactors_.begin(), reactors_.end(), [&](unsigned r) {
            const cpu_location* at = find(machine_, r);
            return at != nullptr && same_core(*at, l);
        });
    }

    const std::vector<unsigned>& reactors_;
    const std::vector<cpu_location>& machine_;
    std::vector<unsigned> taken_;
};

}  // namespace

std::vector<cpu_location> cpu_locations(const std::string& folder) {
    const auto online = detail::first_line(folder + "/online");
    if (!online) return {};
    const auto cpus = parse_cpu_list(*online);
    if (!cpus) return {};
    std::vector<cpu_location> all;
    for (const unsigned cpu : *cpus) {
        const std::string its = folder + "/cpu" + std::to_string(cpu);
        cpu_location l;
        l.cpu = cpu;
        l.package = number_in(its + "/topology/physical_package_id").value_or(0);
        // Not told: a core of its own.
        l.core = number_in(its + "/topology/core_id").value_or(static_cast<int>(cpu));
        l.node = node_of(its);
        all.push_back(l);
    }
    return all;
}

std::vector<unsigned> irq_cpus_for(const std::vector<unsigned>& reactor_cpus,
                                   unsigned reactors_per_queue, irq_place where,
                                   const std::vector<cpu_location>& machine) {
    if (where == irq_place::as_it_is) return {};
    neighbours free(reactor_cpus, machine);
    std::vector<unsigned> chosen;
    for (std::size_t i = 0; i < reactor_cpus.size(); i += std::max(reactors_per_queue, 1U))
        chosen.push_back(where == irq_place::same_cpu ? reactor_cpus[i]
                                                      : free.next_to(reactor_cpus[i]));
    return chosen;
}

}  // namespace sluice
