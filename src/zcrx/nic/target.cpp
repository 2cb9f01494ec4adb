// SPDX-License-Identifier: Apache-2.0
#include "zcrx/nic/target.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace sluice::detail {

namespace {

template <std::size_t N>
bool is_one_of(const std::string& name, const std::array<std::string_view, N>& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::uint32_t> spread(const std::vector<unsigned>& over, std::size_t size) {
    std::vector<std::uint32_t> table;
    for (std::size_t i = 0; !over.empty() && i < size; ++i) table.push_back(over[i % over.size()]);
    return table;
}

}  // namespace

bool nic_target::holds(unsigned queue) const {
    return std::find(queues.begin(), queues.end(), queue) != queues.end();
}

nic_target target_of(const nic_state& state, const nic_request& request) {
    nic_target target;
    target.channels = state.rx_queues();
    target.queues = request.queues;
    if (target.queues.empty()) {
        const unsigned possible = std::max(target.channels, state.combined_max.value_or(0));
        target.queues.push_back(std::min(std::max(target.channels, 2U), possible) - (possible > 0));
    }
    std::sort(target.queues.begin(), target.queues.end());
    target.queues.erase(std::unique(target.queues.begin(), target.queues.end()),
                        target.queues.end());
    if (target.queues.back() >= target.channels && state.combined_max &&
        target.queues.back() < *state.combined_max)
        target.channels = target.queues.back() + 1;
    for (unsigned queue = 0; queue < target.channels; ++queue)
        if (!target.holds(queue)) target.others.push_back(queue);
    target.indirection = spread(target.others, state.indirection.size());
    if (target.queues.size() > 1) target.context = spread(target.queues, state.indirection.size());
    return target;
}

driver_kind known_driver(const nic_state& state) {
    constexpr std::array<std::string_view, 5> works{"bnxt_en", "mlx5_core", "gve", "fbnic",
                                                    "netkit"};
    constexpr std::array<std::string_view, 16> cannot{
        "ena",   "ice",   "idpf", "i40e",       "ixgbe",     "igb", "igc",     "e1000e",
        "e1000", "r8169", "tg3",  "virtio_net", "netdevsim", "tun", "vmxnet3", "hv_netvsc"};
    if (is_one_of(state.driver, works)) return driver_kind::works;
    // Without a device there is nothing that could write into memory by itself.
    if (is_one_of(state.driver, cannot) || !state.has_device) return driver_kind::cannot;
    return driver_kind::unknown;
}

bool wants_gro_hw(const nic_state& state) { return state.driver == "mlx5_core"; }

rule_match match_of(const nic_rule& rule) noexcept { return {rule.port, rule.ipv6, rule.of_peer}; }

std::vector<std::uint64_t> numbers_of(const rule_match& match) {
    return {(match.ipv6 ? 1U : 0U) + (match.of_peer ? 2U : 0U), match.port};
}

rule_match match_of(const nic_setting& setting) noexcept {
    return {static_cast<std::uint16_t>(setting.values[1]), (setting.values[0] & 1U) != 0,
            (setting.values[0] & 2U) != 0};
}

std::vector<rule_match> rules_of(const nic_request& request) {
    std::vector<rule_match> wanted;
    for (const bool ipv6 : {false, true}) {
        if (request.port) wanted.push_back({*request.port, ipv6, false});
        for (const std::uint16_t port : request.peer_ports) wanted.push_back({port, ipv6, true});
    }
    return wanted;
}

rss_table spread_of(const nic_state& state, const nic_target& target) {
    rss_table table{state.hash_key, {target.queues.begin(), target.queues.end()}};
    if (target.queues.size() == 1) return table;
    table.queues = target.context;
    for (const nic_context& c : state.contexts)
        if (c.table == target.context && !c.hash_key.empty()) table.key = c.hash_key;
    return table;
}

rule_state find_rule(const nic_state& state, const nic_target& target, const rule_match& match) {
    auto found = rule_state::absent;
    for (const nic_rule& rule : state.rules) {
        if (match_of(rule) != match) continue;
        bool right = false;
        if (!rule.context) {
            right = target.queues.size() == 1 && rule.queue == target.queues.front();
        } else {
            const auto context =
                std::find_if(state.contexts.begin(), state.contexts.end(),
                             [&](const nic_context& c) { return c.id == *rule.context; });
            right = context != state.contexts.end() && rule.queue == 0 && !target.context.empty() &&
                    context->table == target.context;
        }
        if (!right) return rule_state::elsewhere;
        found = rule_state::right;
    }
    return found;
}

const nic_queue* find_queue(const nic_state& state, std::uint64_t id) {
    for (const nic_queue& queue : state.queues)
        if (queue.id == id) return &queue;
    return nullptr;
}

std::string list_of(const std::vector<unsigned>& numbers) {
    std::string text;
    for (std::size_t i = 0; i < numbers.size();) {
        std::size_t last = i;
        while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
        if (!text.empty()) text += ',';
        text += std::to_string(numbers[i]);
        if (last > i) text += '-' + std::to_string(numbers[last]);
        i = last + 1;
    }
    return text;
}

unsigned number_of(header_split split) noexcept {
    switch (split) {
        case header_split::off: return 1;
        case header_split::on: return 2;
        default: return 0;
    }
}

}  // namespace sluice::detail
