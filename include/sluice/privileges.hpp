// SPDX-License-Identifier: Apache-2.0
//! Giving up what a process needed only to start.
#pragma once

#include "sluice/result.hpp"

namespace sluice {

//! Takes all capabilities from all threads of the process, for good: capset(2), and
//! PR_SET_NO_NEW_PRIVS, so that a program it executes has none either. For when every reactor has
//! its rx queue, for which zcrx_options::bind_retry needs CAP_NET_ADMIN, and, in a service with
//! several of them, has called reach_all_queues(). The other threads are interrupted by a signal
//! (SIGRTMAX, whose handler is put back). Not undone by anything. The kernel's own threads for
//! rings ("iou-wrk-...") show what they began with until they end, which gives nothing away: they
//! run each request with the credentials of the thread that submitted it (io_uring/io_uring.c,
//! io_prep_async_work). Error: EAGAIN when a thread has not answered within a second.
result<void> drop_privileges();

}  // namespace sluice
