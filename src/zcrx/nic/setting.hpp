// SPDX-License-Identifier: Apache-2.0
//! Making a setting so.
#pragma once

#include "sluice/nic.hpp"

namespace sluice::detail {

//! Things are found by what they are; what is already so is left alone.
nic_result<> make_so(const std::string& interface, const nic_setting& setting);

}  // namespace sluice::detail
