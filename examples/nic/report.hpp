// SPDX-License-Identifier: Apache-2.0
//! What sluice-nic prints: for people, and for scripts as JSON.
#pragma once

#include <string>
#include <vector>

#include <sluice/nic.hpp>

namespace nic {

//! What a script may rely on.
enum exit_code { all_there = 0, failed = 1, usage_error = 2, can_be_mended = 3, cannot_be_had = 4 };

exit_code code_of(const std::vector<sluice::nic_requirement>& requirements);

void print_check(const sluice::nic_state& state,
                 const std::vector<sluice::nic_requirement>& requirements, bool json);
void print_plan(const std::vector<sluice::nic_step>& steps, bool json);
void print_commands(const char* heading, const std::vector<std::string>& commands, bool json);

}  // namespace nic
