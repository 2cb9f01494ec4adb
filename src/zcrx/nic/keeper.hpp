// SPDX-License-Identifier: Apache-2.0
//! The helper process of a nic_session, and the way to it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/kernel/device_files.hpp"
#include "runtime/kernel/helper_process.hpp"
#include "sluice/nic.hpp"

namespace sluice::detail {

//! Puts the NIC back when asked to, or when this process has gone.
class nic_keeper {
public:
    static nic_result<std::unique_ptr<nic_keeper>> start(const nic_request& request,
                                                         const std::string& journal,
                                                         file_lock lock);

    nic_result<> steer() { return ask('s'); }
    nic_result<> steer_away() { return ask('a'); }
    nic_result<> restore() { return ask('r'); }
    nic_result<> leave() { return ask('l'); }
    [[nodiscard]] const file_lock& lock() const noexcept { return lock_; }

private:
    nic_keeper(helper_process helper, file_lock lock) noexcept
        : helper_(std::move(helper)), lock_(std::move(lock)) {}
    nic_result<> ask(char question);

    helper_process helper_;
    file_lock lock_;
};

}  // namespace sluice::detail
