// SPDX-License-Identifier: Apache-2.0
//! Who has set up an interface: a locked file beside the journal.
#pragma once

#include <string>
#include <vector>

#include "runtime/kernel/device_files.hpp"
#include "sluice/nic_state.hpp"

namespace sluice::detail {

//! For the process that has the journal to itself as long as the lock lives. One that has just
//! ended is waited for, a living one not for long: it is named in the failure, with its queues.
nic_result<file_lock> lock_nic(const std::string& interface, const std::string& journal);

//! Tells others what this process has the lock for.
void sign(const file_lock& lock, const std::vector<unsigned>& queues);

//! "process 12 (sluice-echo)"; nothing if no process has the lock.
std::string nic_owner(const std::string& journal);

//! Another process has the lock: it will put the NIC back, for which the queues have to be free.
bool is_another_ones(const std::string& journal);

}  // namespace sluice::detail
