// SPDX-License-Identifier: Apache-2.0
//! How much memory the process has.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <fstream>

namespace sluice::testing {

//! Mapped and resident memory in bytes, from /proc/self/statm.
struct memory_use {
    std::size_t mapped = 0;
    std::size_t resident = 0;
};

inline memory_use memory_now() {
    std::ifstream file("/proc/self/statm");
    memory_use pages;
    file >> pages.mapped >> pages.resident;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return {pages.mapped * page, pages.resident * page};
}

}  // namespace sluice::testing
