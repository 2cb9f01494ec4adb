// SPDX-License-Identifier: Apache-2.0
#include "zcrx/nic/command.hpp"

#include <algorithm>

#include "zcrx/nic/target.hpp"

namespace sluice::detail {

namespace {

//! How a table is told to ethtool: "start 2 equal 2" or "weight 1 1 0 1".
std::string table_text(const std::vector<std::uint64_t>& table) {
    if (table.empty()) return "default";
    std::vector<unsigned> queues(table.begin(), table.end());
    std::sort(queues.begin(), queues.end());
    std::vector<unsigned> distinct = queues;
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    const bool without_gap = distinct.back() - distinct.front() + 1 == distinct.size();
    const auto least = queues.size() / distinct.size();
    const auto times = [&](unsigned queue) {
        return static_cast<std::size_t>(std::count(queues.begin(), queues.end(), queue));
    };
    const bool equal = std::all_of(distinct.begin(), distinct.end(), [&](unsigned queue) {
        return times(queue) == least || times(queue) == least + 1;
    });
    if (without_gap && equal) {
        const std::string start =
            distinct.front() == 0 ? "" : "start " + std::to_string(distinct.front()) + " ";
        return start + "equal " + std::to_string(distinct.size());
    }
    std::string text = "weight";
    for (unsigned queue = 0; queue <= distinct.back(); ++queue)
        text += ' ' + std::to_string(equal ? std::min<std::size_t>(times(queue), 1) : times(queue));
    return text;
}

std::string rule_text(const nic_state& state, const nic_setting& s) {
    const rule_match match = match_of(s);
    const std::string head = std::string("flow-type ") + (match.ipv6 ? "tcp6" : "tcp4") +
                             (match.of_peer ? " src-port " : " dst-port ") +
                             std::to_string(match.port);
    if (s.values.size() == 3) return head + " action " + std::to_string(s.values[2]);
    const std::vector<unsigned> queues(s.values.begin() + 2, s.values.end());
    return head + " context ID  # of queues " + list_of(queues) + ": see ethtool -x " +
           state.interface;
}

std::string split_text(const nic_setting& s) {
    constexpr const char* words[] = {"auto", "off", "on"};
    std::string text =
        std::string("tcp-data-split ") + words[std::min<std::uint64_t>(s.values[0], 2)];
    if (s.values.size() > 1) text += " hds-thresh " + std::to_string(s.values[1]);
    return text;
}

std::string napi_text(const nic_state& state, const nic_setting& s) {
    const nic_queue* queue = find_queue(state, s.values[0]);
    const std::string id = queue != nullptr && queue->napi
                               ? std::to_string(*queue->napi)
                               : "NAPI-OF-QUEUE-" + std::to_string(s.values[0]);
    return "ynl --family netdev --do napi-set --json '{\"id\": " + id +
           ", \"defer-hard-irqs\": " + std::to_string(s.values[1]) +
           ", \"gro-flush-timeout\": " + std::to_string(s.values[2]) + "}'";
}

std::string irq_text(const nic_state& state, const nic_setting& s) {
    const nic_queue* queue = find_queue(state, s.values[0]);
    const std::string irq = queue != nullptr && queue->irq
                                ? std::to_string(*queue->irq)
                                : "IRQ-OF-QUEUE-" + std::to_string(s.values[0]);
    return "echo " + s.name + " >/proc/irq/" + irq + "/smp_affinity_list";
}

}  // namespace

std::string command_of(const nic_state& state, const nic_setting& s) {
    const std::string& nic = state.interface;
    using kind = nic_setting::kind;
    switch (s.what) {
        case kind::feature:
            return "ethtool -K " + nic + ' ' + (s.name == "rx-ntuple-filter" ? "ntuple" : s.name) +
                   (s.values[0] != 0 ? " on" : " off");
        case kind::split: return "ethtool -G " + nic + ' ' + split_text(s);
        case kind::channels:
            return "ethtool -L " + nic + " combined " + std::to_string(s.values[0]);
        case kind::indirection: return "ethtool -X " + nic + ' ' + table_text(s.values);
        case kind::context: return "ethtool -X " + nic + " context new " + table_text(s.values);
        case kind::context_gone:
            return "ethtool -X " + nic + " context ID delete  # that of " + table_text(s.values) +
                   ": see ethtool -x " + nic;
        case kind::rule: return "ethtool -N " + nic + ' ' + rule_text(state, s);
        case kind::rule_gone:
            return "ethtool -N " + nic + " delete LOCATION  # of " + rule_text(state, s);
        case kind::napi: return napi_text(state, s);
        case kind::irq_affinity: return irq_text(state, s);
    }
    return {};
}

}  // namespace sluice::detail
