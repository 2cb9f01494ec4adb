// SPDX-License-Identifier: Apache-2.0
#include "zcrx/nic/setting.hpp"

#include <algorithm>

#include "runtime/kernel/device_files.hpp"
#include "runtime/kernel/process.hpp"
#include "zcrx/nic/ethtool.hpp"
#include "zcrx/nic/netdev.hpp"
#include "zcrx/nic/target.hpp"

namespace sluice::detail {

namespace {

using kind = nic_setting::kind;

unsigned small(std::uint64_t value) { return static_cast<unsigned>(value); }

nic_result<> by_netlink(unsigned index, const nic_setting& s) {
    auto ethtool = ethtool_netlink::open(index);
    if (!ethtool) return failure_of("asking the kernel for ethtool netlink", ethtool.error());
    if (s.what == kind::feature) return ethtool->set_feature(s.name, s.values[0] != 0);
    if (s.what == kind::channels) return ethtool->set_channels(small(s.values[0]));
    std::optional<unsigned> threshold;
    if (s.values.size() > 1) threshold = small(s.values[1]);
    return ethtool->set_split(small(s.values[0]), threshold);
}

nic_result<netdev_netlink> open_netdev(unsigned index) {
    auto netdev = netdev_netlink::open(index);
    if (!netdev) return failure_of("asking the kernel for its netdev family", netdev.error());
    return std::move(*netdev);
}

nic_result<nic_queue> queue_of(netdev_netlink& netdev, std::uint64_t id) {
    nic_state state;
    netdev.read_queues(state);
    if (const nic_queue* queue = find_queue(state, id)) return *queue;
    return nic_failure{"queue " + std::to_string(id) + " is not there, or the link is down"};
}

nic_result<> set_napi(unsigned index, const nic_setting& s) {
    auto netdev = open_netdev(index);
    if (!netdev) return netdev.error();
    const auto queue = queue_of(*netdev, s.values[0]);
    if (!queue) return queue.error();
    if (!queue->napi)
        return nic_failure{"queue " + std::to_string(s.values[0]) +
                           " has no NAPI that the kernel tells of: is the link up?"};
    return netdev->set_napi(*queue->napi, small(s.values[1]), s.values[2]);
}

nic_result<> set_irq_affinity(unsigned index, const nic_setting& s) {
    auto netdev = open_netdev(index);
    if (!netdev) return netdev.error();
    const auto queue = queue_of(*netdev, s.values[0]);
    if (!queue) return queue.error();
    if (!queue->irq)
        return nic_failure{"the driver tells no interrupt of queue " + std::to_string(s.values[0])};
    const std::string path = "/proc/irq/" + std::to_string(*queue->irq) + "/smp_affinity_list";
    const auto done = write_setting(path, s.name);
    if (!done) return failure_of("writing " + s.name + " to " + path, done.error());
    return {};
}

//! Contexts and rules are told by what they hold: their numbers are not known before they are made.
class steering {
public:
    steering(const std::string& interface, unsigned index) {
        state_.interface = interface;
        state_.index = index;
        if (auto netlink = ethtool_netlink::open(index)) netlink->read_contexts(state_);
        read_rss(state_);
        read_rules(state_);
    }

    nic_result<> add_context(const nic_setting& s) {
        const std::vector<std::uint32_t> table(s.values.begin(), s.values.end());
        if (find(table)) return {};
        const auto added = detail::add_context(state_.interface, table);
        if (!added) return added.error();
        return {};
    }

    nic_result<> remove_context(const nic_setting& s) {
        const auto id = find({s.values.begin(), s.values.end()});
        if (!id) return {};
        return detail::remove_context(state_.interface, *id);
    }

    nic_result<> add_rule(const nic_setting& s) {
        const rule_match match = match_of(s);
        nic_rule rule{.location = 0,
                      .ipv6 = match.ipv6,
                      .port = match.port,
                      .of_peer = match.of_peer,
                      .context = std::nullopt,
                      .queue = small(s.values[2])};
        const nic_target target = target_of_rule(s);
        if (find_rule(state_, target, match) == rule_state::right) return {};
        if (!target.context.empty()) {
            rule.context = find(target.context);
            if (!rule.context) return nic_failure{"the RSS context of the rule is not there"};
            rule.queue = 0;
        }
        return detail::add_rule(state_.interface, rule);
    }

    nic_result<> remove_rule(const nic_setting& s) {
        const nic_target target = target_of_rule(s);
        for (const nic_rule& rule : state_.rules) {
            if (match_of(rule) != match_of(s)) continue;
            nic_state only = state_;
            only.rules = {rule};
            if (find_rule(only, target, match_of(s)) != rule_state::right) continue;
            if (auto removed = detail::remove_rule(state_.interface, rule.location); !removed)
                return removed;
        }
        return {};
    }

private:
    nic_target target_of_rule(const nic_setting& s) const {
        nic_request request;
        request.queues.assign(s.values.begin() + 2, s.values.end());
        return target_of(state_, request);
    }

    std::optional<unsigned> find(const std::vector<std::uint32_t>& table) const {
        for (const nic_context& c : state_.contexts)
            if (c.table == table) return c.id;
        return std::nullopt;
    }

    nic_state state_;
};

}  // namespace

nic_result<> make_so(const std::string& interface, const nic_setting& s) {
    const unsigned index = interface_index(interface);
    if (index == 0) return nic_failure{"there is no interface " + interface + " here: see ip link"};
    switch (s.what) {
        case kind::feature:
        case kind::split:
        case kind::channels: return by_netlink(index, s);
        case kind::indirection:
            return set_indirection(interface, {s.values.begin(), s.values.end()});
        case kind::context: return steering(interface, index).add_context(s);
        case kind::context_gone: return steering(interface, index).remove_context(s);
        case kind::rule: return steering(interface, index).add_rule(s);
        case kind::rule_gone: return steering(interface, index).remove_rule(s);
        case kind::napi: return set_napi(index, s);
        case kind::irq_affinity: return set_irq_affinity(index, s);
    }
    return {};
}

}  // namespace sluice::detail
