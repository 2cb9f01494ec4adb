// SPDX-License-Identifier: Apache-2.0
//! Capabilities of threads: capget(2), capset(2). Not simulated.
#pragma once

#include <cstdint>

#include "sluice/privileges.hpp"

namespace sluice::detail {

//! Of the calling thread only these of its capabilities are left, by number: 1 << CAP_NET_ADMIN.
result<void> keep_capabilities(std::uint32_t mask) noexcept;

}  // namespace sluice::detail
