// SPDX-License-Identifier: Apache-2.0
//! `sluice-nic watch`: what happens on each queue, again and again.
#pragma once

#include <chrono>
#include <string>

#include <sluice/nic_state.hpp>

namespace nic {

struct watch_options {
    std::chrono::milliseconds interval{1000};
    unsigned count = 0;  // 0: until it is interrupted
    bool json = false;
};

sluice::nic_result<> watch(const std::string& interface, const watch_options& how);

}  // namespace nic
