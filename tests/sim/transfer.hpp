// SPDX-License-Identifier: Apache-2.0
//! What the operations on streams have in common.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "sim/sim_ring.hpp"
#include "sim/sim_socket.hpp"

namespace sluice::sim {

inline constexpr int multishot_tries = 32;  // of one run of task work, as in Linux

inline sim_socket* socket_of(const request& r) noexcept {
    return dynamic_cast<sim_socket*>(r.file.get());
}

//! How much of `possible` bytes one transfer moves.
inline std::size_t next_length(sim_ring& ring, request& r, std::size_t possible) {
    std::size_t length = possible;
    if (ring.in().random.chance(ring.in().options.split_rate))
        length = 1 + ring.in().random.below(possible);
    if (const std::size_t cap = std::exchange(r.cap, 0); cap != 0) length = std::min(length, cap);
    return length;
}

//! The request is tried only once its file is ready, the first time included.
inline bool begins_with_waiting(request& r, interest direction) {
    return (r.sqe.ioprio & IORING_RECVSEND_POLL_FIRST) != 0 && !std::exchange(r.started, true) &&
           !r.file->ready(direction);
}

}  // namespace sluice::sim
