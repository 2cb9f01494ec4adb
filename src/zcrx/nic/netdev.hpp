// SPDX-License-Identifier: Apache-2.0
//! The "netdev" netlink family: receive queues, what fills them, their NAPIs and counters.
#pragma once

#include <cstdint>
#include <vector>

#include "sluice/nic_state.hpp"
#include "zcrx/nic/genl.hpp"

namespace sluice::detail {

struct queue_napi {
    unsigned queue;
    unsigned napi;
};

class netdev_netlink {
public:
    static result<netdev_netlink> open(unsigned interface_index);

    //! All of it; what the kernel or the driver does not tell is left alone.
    void read_queues(nic_state& into);

    //! The NAPI of each receive queue that has one.
    std::vector<queue_napi> rx_napis();

    nic_result<> set_napi(unsigned napi, unsigned defer_hard_irqs,
                          std::uint64_t gro_flush_timeout_ns);

private:
    netdev_netlink(genl_family family, unsigned index)
        : family_(std::move(family)), index_(index) {}
    void read_napis(nic_state& into);
    void read_counters(nic_state& into);
    void read_pools(nic_state& into);
    genl_family family_;
    unsigned index_;
};

//! Whether a ring has the queue. False also where that can't be told.
bool is_bound(unsigned interface_index, unsigned queue);

//! Whether an XDP program is attached: rtnetlink.
bool has_xdp(unsigned interface_index);

}  // namespace sluice::detail
