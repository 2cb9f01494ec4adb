// SPDX-License-Identifier: Apache-2.0
//! NICs to judge, as values.
#pragma once

#include <cstdint>
#include <string>

#include "sluice/nic.hpp"

namespace nic_test {

//! Four queues, everything as a driver leaves it: flow rules on, split not set.
inline sluice::nic_state fresh() {
    sluice::nic_state s;
    s.interface = "eth0";
    s.index = 2;
    s.driver = "bnxt_en";
    s.firmware = "230.1";
    s.has_device = true;
    s.combined = 4;
    s.combined_max = 8;
    s.split = sluice::header_split::automatic;
    s.split_threshold = 256;
    s.ntuple = sluice::nic_feature{true, true};
    for (unsigned i = 0; i < 128; ++i) s.indirection.push_back(i % 4);
    for (unsigned i = 0; i < 4; ++i) {
        sluice::nic_queue q;
        q.id = i;
        q.napi = 100 + i;
        q.irq = 40 + i;
        q.irq_cpus = "0-7";
        q.defer_hard_irqs = 0;
        q.gro_flush_timeout_ns = 0;
        s.queues.push_back(q);
    }
    s.kernel = "7.3.4";
    s.net_admin = true;
    s.lockable_bytes = UINT64_MAX;
    return s;
}

//! The same, ready for queue 3 and port 7000.
inline sluice::nic_state ready() {
    auto s = fresh();
    s.split = sluice::header_split::on;
    s.split_threshold = 0;
    for (unsigned i = 0; i < 128; ++i) s.indirection[i] = i % 3;
    for (const bool ipv6 : {false, true}) {
        sluice::nic_rule rule;
        rule.ipv6 = ipv6;
        rule.port = 7000;
        rule.queue = 3;
        s.rules.push_back(rule);
    }
    return s;
}

inline sluice::nic_request wanted() {
    sluice::nic_request r;
    r.interface = "eth0";
    r.queues = {3};
    r.port = 7000;
    return r;
}

}  // namespace nic_test
