// SPDX-License-Identifier: Apache-2.0
//! Which reactors of a process use which rx queue together.
#pragma once

#include <string>

#include "zcrx/rx_queue.hpp"

namespace sluice::detail {

//! Reactors that share a queue: a group of those of one service, or of those that are in none.
struct sharing_group {
    const void* service;  // null: in none
    unsigned number;
};

//! A queue, and the reactor that asked as one of its users.
struct joined_queue {
    rx_queue* queue;
    rx_queue::user* user;
};

//! The first reactor of a group registers the queue, the others import it. On failure `why` says
//! it in words.
result<joined_queue> join_queue(const sharing_group& group, reactor_io& io,
                                const zcrx_options& options, unsigned queue, std::string& why);

//! The reactor of `io` does not use the queue any more.
void leave_queue(rx_queue& queue, reactor_io& io) noexcept;

}  // namespace sluice::detail
