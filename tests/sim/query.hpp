// SPDX-License-Identifier: Apache-2.0
//! IORING_REGISTER_QUERY.
#pragma once

#include "sim/profile.hpp"

namespace sluice::sim {

//! Answers a list of questions about the kernel, as io_uring_register(2) does.
int answer_query(const profile& kernel, void* argument, unsigned count);

}  // namespace sluice::sim
