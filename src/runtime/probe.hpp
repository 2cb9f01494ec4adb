// SPDX-License-Identifier: Apache-2.0
//! Finds out by trying what the kernel's operations can do.
#pragma once

#include "runtime/ring.hpp"

namespace sluice::detail {

//! Names of features that the net layer asks for.
inline constexpr const char* feature_receive_limit = "RECV_LIMIT";
inline constexpr const char* feature_incremental_buffers = "PBUF_RING_INC";
inline constexpr const char* feature_zero_copy_send = "SEND_ZC";
inline constexpr const char* feature_fixed_vectors = "SENDMSG_ZC_FIXED";
//! Asked for by the runtime itself.
inline constexpr const char* feature_message_ring = "MSG_RING";

//! Tries on a ring on which nothing else has been submitted yet.
void probe_operations(ring& r, features& found);

}  // namespace sluice::detail
