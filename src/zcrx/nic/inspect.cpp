// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "runtime/kernel/device_files.hpp"
#include "runtime/kernel/pages.hpp"
#include "runtime/kernel/process.hpp"
#include "sluice/nic_state.hpp"
#include "zcrx/nic/ethtool.hpp"
#include "zcrx/nic/netdev.hpp"

namespace sluice {

namespace {

int numa_node_of(const std::string& folder) {
    const auto line = detail::first_line(folder + "/device/numa_node");
    int node = -1;
    if (line) std::from_chars(line->data(), line->data() + line->size(), node);
    return node;
}

}  // namespace

unsigned nic_state::rx_queues() const noexcept {
    if (!queues.empty()) return queues.back().id + 1;
    return combined.value_or(0) + rx_channels.value_or(0);
}

nic_result<nic_state> inspect_nic(const std::string& interface) {
    nic_state state;
    state.interface = interface;
    state.index = detail::interface_index(interface);
    if (state.index == 0)
        return nic_failure{"there is no interface " + interface + " here: see ip link"};
    state.has_device = detail::path_exists("/sys/class/net/" + interface + "/device");
    state.xdp = detail::has_xdp(state.index);
    state.numa_node = numa_node_of("/sys/class/net/" + interface);
    detail::read_driver(state);
    if (auto netlink = detail::ethtool_netlink::open(state.index)) {
        netlink->read_channels(state);
        netlink->read_rings(state);
        netlink->read_features(state);
        netlink->read_contexts(state);
    }
    detail::read_rss(state);
    detail::read_rules(state);
    if (auto netlink = detail::netdev_netlink::open(state.index)) netlink->read_queues(state);
    for (nic_queue& queue : state.queues) {
        if (!queue.irq) continue;
        queue.irq_cpus =
            detail::first_line("/proc/irq/" + std::to_string(*queue.irq) + "/smp_affinity_list")
                .value_or("");
    }
    state.kernel = detail::first_line("/proc/sys/kernel/osrelease").value_or("");
    state.net_admin = detail::has_net_admin();
    state.lockable_bytes = detail::lockable_bytes();
    return state;
}

}  // namespace sluice
