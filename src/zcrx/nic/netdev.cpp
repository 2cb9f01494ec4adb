// SPDX-License-Identifier: Apache-2.0
#include "zcrx/nic/netdev.hpp"

#include <algorithm>

#include <linux/if_link.h>
#include <linux/netdev.h>
#include <linux/rtnetlink.h>

#include "zcrx/nic/ethtool.hpp"

namespace sluice::detail {

namespace {

queue_use use_of(const attributes& a) {
    if (a.find(NETDEV_A_QUEUE_IO_URING) != nullptr) return queue_use::io_uring;
    if (a.find(NETDEV_A_QUEUE_DMABUF) != nullptr) return queue_use::dma_buf;
    if (a.find(NETDEV_A_QUEUE_XSK) != nullptr) return queue_use::af_xdp;
    if (a.find(NETDEV_A_QUEUE_LEASE) != nullptr) return queue_use::leased;
    return queue_use::host_memory;
}

template <class Match>
void for_queues(nic_state& in, Match match, const auto& change) {
    for (nic_queue& q : in.queues)
        if (match(q)) change(q);
}

}  // namespace

result<netdev_netlink> netdev_netlink::open(unsigned interface_index) {
    auto family = genl_family::open(NETDEV_FAMILY_NAME);
    if (!family) return family.error();
    return netdev_netlink(std::move(*family), interface_index);
}

void netdev_netlink::read_queues(nic_state& into) {
    auto message = family_.make(NETDEV_CMD_QUEUE_GET, NLM_F_DUMP);
    message.put_number<std::uint32_t>(NETDEV_A_QUEUE_IFINDEX, index_);
    static_cast<void>(family_.ask(message, [&](const attributes& a) {
        if (a.small(NETDEV_A_QUEUE_TYPE) != unsigned{NETDEV_QUEUE_TYPE_RX}) return;
        nic_queue queue;
        queue.id = a.small(NETDEV_A_QUEUE_ID).value_or(0);
        queue.napi = a.small(NETDEV_A_QUEUE_NAPI_ID);
        queue.use = use_of(a);
        into.queues.push_back(std::move(queue));
    }));
    std::sort(into.queues.begin(), into.queues.end(),
              [](const nic_queue& a, const nic_queue& b) { return a.id < b.id; });
    read_napis(into);
    read_counters(into);
    read_pools(into);
}

std::vector<queue_napi> netdev_netlink::rx_napis() {
    std::vector<queue_napi> found;
    auto message = family_.make(NETDEV_CMD_QUEUE_GET, NLM_F_DUMP);
    message.put_number<std::uint32_t>(NETDEV_A_QUEUE_IFINDEX, index_);
    static_cast<void>(family_.ask(message, [&](const attributes& a) {
        const auto queue = a.small(NETDEV_A_QUEUE_ID);
        const auto napi = a.small(NETDEV_A_QUEUE_NAPI_ID);
        if (queue && napi && a.small(NETDEV_A_QUEUE_TYPE) == unsigned{NETDEV_QUEUE_TYPE_RX})
            found.push_back({*queue, *napi});
    }));
    return found;
}

void netdev_netlink::read_napis(nic_state& into) {
    auto message = family_.make(NETDEV_CMD_NAPI_GET, NLM_F_DUMP);
    message.put_number<std::uint32_t>(NETDEV_A_NAPI_IFINDEX, index_);
    static_cast<void>(family_.ask(message, [&](const attributes& a) {
        const auto id = a.small(NETDEV_A_NAPI_ID);
        for_queues(
            into, [&](const nic_queue& q) { return q.napi && q.napi == id; },
            [&](nic_queue& q) {
                q.irq = a.small(NETDEV_A_NAPI_IRQ);
                q.defer_hard_irqs = a.small(NETDEV_A_NAPI_DEFER_HARD_IRQS);
                q.gro_flush_timeout_ns = a.number(NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT);
            });
    }));
}

void netdev_netlink::read_counters(nic_state& into) {
    auto message = family_.make(NETDEV_CMD_QSTATS_GET, NLM_F_DUMP);
    message.put_number<std::uint32_t>(NETDEV_A_QSTATS_IFINDEX, index_);
    message.put_number<std::uint64_t>(NETDEV_A_QSTATS_SCOPE, NETDEV_QSTATS_SCOPE_QUEUE);
    static_cast<void>(family_.ask(message, [&](const attributes& a) {
        if (a.small(NETDEV_A_QSTATS_QUEUE_TYPE) != unsigned{NETDEV_QUEUE_TYPE_RX}) return;
        const auto id = a.small(NETDEV_A_QSTATS_QUEUE_ID);
        for_queues(
            into, [&](const nic_queue& q) { return q.id == id; },
            [&](nic_queue& q) {
                q.counters.packets = a.number(NETDEV_A_QSTATS_RX_PACKETS);
                q.counters.bytes = a.number(NETDEV_A_QSTATS_RX_BYTES);
                q.counters.alloc_failures = a.number(NETDEV_A_QSTATS_RX_ALLOC_FAIL);
                q.counters.hardware_drops = a.number(NETDEV_A_QSTATS_RX_HW_DROPS);
            });
    }));
}

void netdev_netlink::read_pools(nic_state& into) {
    auto message = family_.make(NETDEV_CMD_PAGE_POOL_GET, NLM_F_DUMP);
    static_cast<void>(family_.ask(message, [&](const attributes& a) {
        const auto napi = a.small(NETDEV_A_PAGE_POOL_NAPI_ID);
        // Those of a queue that was stopped are detached, and wait for their last buffers.
        if (a.small(NETDEV_A_PAGE_POOL_IFINDEX) != index_ || !napi ||
            a.find(NETDEV_A_PAGE_POOL_DETACH_TIME) != nullptr)
            return;
        const auto out = a.number(NETDEV_A_PAGE_POOL_INFLIGHT);
        for_queues(
            into, [&](const nic_queue& q) { return q.napi == napi; },
            [&](nic_queue& q) {
                if (out) q.counters.buffers_out = q.counters.buffers_out.value_or(0) + *out;
            });
    }));
}

nic_result<> netdev_netlink::set_napi(unsigned napi, unsigned defer_hard_irqs,
                                      std::uint64_t gro_flush_timeout_ns) {
    auto message = family_.make(NETDEV_CMD_NAPI_SET);
    message.put_number<std::uint32_t>(NETDEV_A_NAPI_ID, napi);
    message.put_number<std::uint32_t>(NETDEV_A_NAPI_DEFER_HARD_IRQS, defer_hard_irqs);
    // A "uint" of netlink: 4 bytes where they suffice.
    if (gro_flush_timeout_ns <= 0xffffffff)
        message.put_number<std::uint32_t>(NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT,
                                          static_cast<std::uint32_t>(gro_flush_timeout_ns));
    else
        message.put_number<std::uint64_t>(NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT, gro_flush_timeout_ns);
    const auto done = family_.ask(message, [](const attributes&) {});
    if (!done) return failure_of("setting a NAPI", done.error(), family_.said());
    return {};
}

bool is_bound(unsigned interface_index, unsigned queue) {
    auto netdev = netdev_netlink::open(interface_index);
    if (!netdev) return false;
    nic_state state;
    netdev->read_queues(state);
    return std::any_of(state.queues.begin(), state.queues.end(), [&](const nic_queue& q) {
        return q.id == queue && q.use == queue_use::io_uring;
    });
}

bool has_xdp(unsigned interface_index) {
    auto socket = netlink_socket::open(NETLINK_ROUTE);
    if (!socket) return false;
    netlink_message message(RTM_GETLINK, 0);
    ifinfomsg link{};
    link.ifi_index = static_cast<int>(interface_index);
    message.put_header(link);
    bool attached = false;
    static_cast<void>(socket->ask(message.get(), [&](const nlmsghdr& m) {
        for_each_attribute(m, sizeof(ifinfomsg), [&](const nlattr& a) {
            if (type_of(a) != IFLA_XDP) return;
            attached = attributes(&a).small(IFLA_XDP_ATTACHED).value_or(XDP_ATTACHED_NONE) !=
                       XDP_ATTACHED_NONE;
        });
    }));
    return attached;
}

}  // namespace sluice::detail
