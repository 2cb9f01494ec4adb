// SPDX-License-Identifier: Apache-2.0
//! What has to be put back: a file that is complete before each change begins.
#pragma once

#include <string>
#include <vector>

#include "sluice/nic.hpp"

namespace sluice::detail {

struct nic_journal {
    struct entry {
        nic_setting undo;
        std::string command;
        friend bool operator==(const entry&, const entry&) = default;
    };
    std::string interface;
    std::string driver;
    std::string boot_id;  // settings do not outlive a boot
    std::vector<entry> entries;

    friend bool operator==(const nic_journal&, const nic_journal&) = default;
};

std::string to_text(const nic_journal& journal);

//! `path` is for the message.
nic_result<nic_journal> parse_journal(const std::string& text, const std::string& path);

}  // namespace sluice::detail
