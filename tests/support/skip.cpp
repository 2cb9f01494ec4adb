// SPDX-License-Identifier: Apache-2.0
#include "support/skip.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <string>

namespace sluice::testing {

void report_skip(std::string_view reason) {
    const auto* test = doctest::getContextOptions()->currentTest;
    std::string name = test != nullptr ? test->m_name : "a test without a name";
    // The first colon ends the name.
    for (auto at = name.find(": "); at != std::string::npos; at = name.find(": ")) name[at] = ',';
    // A line of its own, complete whatever happens to the process later.
    std::printf("\nSKIP: %s: %.*s\n", name.c_str(), static_cast<int>(reason.size()), reason.data());
    std::fflush(stdout);
}

}  // namespace sluice::testing
