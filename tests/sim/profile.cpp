// SPDX-License-Identifier: Apache-2.0
#include "sim/profile.hpp"

namespace sluice::sim {

profile kernel_6_1() noexcept {
    profile p;
    p.no_sqarray = false;
    p.cqe_mixed = false;
    p.min_timeout = false;
    p.absolute_wait = false;
    p.no_iowait = false;
    p.buffer_ring_mmap = false;
    p.buffer_ring_inc = false;
    p.receive_limit = false;
    p.accept_nonempty = false;
    p.send_reports_use = false;
    p.fixed_vectors = false;
    p.queries = false;
    p.zcrx = false;
    p.zcrx_control = 0;
    p.zcrx_device_less = false;
    p.zcrx_events = false;
    p.shutdown_is_deferred = true;
    p.task_work_limit = 0;
    return p;
}

profile kernel_6_18() noexcept {
    profile p;
    p.zcrx_control = 0;
    p.zcrx_device_less = false;
    p.zcrx_events = false;
    return p;
}

profile kernel_7_3() noexcept { return {}; }

}  // namespace sluice::sim
