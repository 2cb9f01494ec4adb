// SPDX-License-Identifier: Apache-2.0
//! What the simulated kernel can do.
#pragma once

#include <cstdint>

namespace sluice::sim {

//! Features that differ between the kernels sluice runs on; each can be switched by itself.
struct profile {
    bool no_sqarray = true;             //!< IORING_SETUP_NO_SQARRAY (6.6)
    bool cqe_mixed = true;              //!< IORING_SETUP_CQE_MIXED (6.18)
    bool min_timeout = true;            //!< min_wait_usec of a wait (6.12)
    bool absolute_wait = true;          //!< IORING_ENTER_ABS_TIMER (6.12)
    bool no_iowait = true;              //!< IORING_ENTER_NO_IOWAIT (6.15)
    bool registered_rings = true;       //!< IORING_REGISTER_RING_FDS (5.18)
    bool buffer_ring_mmap = true;       //!< IOU_PBUF_RING_MMAP (6.4)
    bool buffer_ring_inc = true;        //!< IOU_PBUF_RING_INC (6.12)
    bool receive_limit = true;          //!< len and optlen of a multishot receive (6.17)
    bool accept_nonempty = true;        //!< F_SOCK_NONEMPTY of an accept; else it looks once more
    bool send_reports_use = true;       //!< REPORT_USAGE of a zero-copy send (6.2)
    bool fixed_vectors = true;          //!< a fixed buffer for SENDMSG_ZC (6.15)
    bool queries = true;                //!< IORING_REGISTER_QUERY (6.18)
    bool zcrx = true;                   //!< rx queues, RECV_ZC (6.15)
    unsigned zcrx_control = 4;          //!< ZCRX_CTRL: two kinds (6.19), three (7.2), four (7.3)
    bool zcrx_device_less = true;       //!< ZCRX_REG_NODEV (7.1)
    bool zcrx_events = true;            //!< events and statistics of an rx queue (7.2)
    bool shutdown_is_deferred = false;  //!< SHUTDOWN goes to a worker thread, so it ends later
    unsigned task_work_limit = 20;      //!< completions of one enter that does not wait; 0: all
};

//! What the names say: the oldest kernel that is supported, one with all that plain sockets
//! profit from, and one that has everything.
profile kernel_6_1() noexcept;
profile kernel_6_18() noexcept;
profile kernel_7_3() noexcept;

}  // namespace sluice::sim
