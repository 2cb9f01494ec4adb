// SPDX-License-Identifier: Apache-2.0
//! Settings as a person would type them.
#pragma once

#include <string>

#include "sluice/nic.hpp"

namespace sluice::detail {

std::string command_of(const nic_state& state, const nic_setting& setting);

}  // namespace sluice::detail
