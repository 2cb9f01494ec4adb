// SPDX-License-Identifier: Apache-2.0
//! Which reactors of a process use which rx queue together.
#pragma once

#include <string>
#include <vector>

#include "zcrx/rx_queue.hpp"

namespace sluice::detail {

//! Reactors that share a queue: a group of those of one service, or of those that are in none.
struct sharing_group {
    const void* service;  // null: in none
    unsigned number;
    bool alone = false;  // it is one reactor, and nobody else will ask for its queue
};

//! A queue, and the reactor that asked as one of its users.
struct joined_queue {
    rx_queue* queue;
    rx_queue::user* user;
};

//! The first reactor of a group registers the queue, the others import it. On failure `why` says
//! it in words. `again`: the queue was taken before, so it is looked whether it still is, which is
//! cheaper than to offer an area.
result<joined_queue> join_queue(const sharing_group& group, reactor_io& io,
                                const zcrx_options& options, unsigned queue, std::string& why,
                                bool again);

//! Imports the queues of the same service's other groups, so that the reactor of `io` can read what
//! a NIC has put there. Adds to `joined` those that are not in it and can be had: kernel 6.19,
//! CAP_NET_ADMIN at this moment, and the queue of an interface.
void join_others(const sharing_group& group, reactor_io& io, std::vector<joined_queue>& joined);

//! The reactor of `io` does not use the queue any more.
void leave_queue(rx_queue& queue, reactor_io& io) noexcept;

}  // namespace sluice::detail
