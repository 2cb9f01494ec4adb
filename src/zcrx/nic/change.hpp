// SPDX-License-Identifier: Apache-2.0
//! What a session does with a journal that is its own: the lock must be held.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "sluice/nic.hpp"

namespace sluice::detail {

//! apply_nic() with a journal that is there.
nic_result<> do_more(const nic_state& state, const std::vector<nic_step>& steps,
                     const std::string& journal);

//! Takes the flow rules away that the journal tells of.
nic_result<> undo_rules(const std::string& interface, const std::string& journal);

//! restore_nic().
nic_result<std::vector<std::string>> put_back(const std::string& interface,
                                              const std::string& journal,
                                              std::chrono::milliseconds patience);

}  // namespace sluice::detail
