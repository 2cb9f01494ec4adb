// SPDX-License-Identifier: Apache-2.0
#include "support/skip.hpp"

#include <doctest/doctest.h>

#include <cstdio>

namespace sluice::testing {

void report_skip(std::string_view reason) {
    const auto* test = doctest::getContextOptions()->currentTest;
    // A line of its own, complete whatever happens to the process later.
    std::printf("\nSKIP: %s: %.*s\n", test != nullptr ? test->m_name : "a test without a name",
                static_cast<int>(reason.size()), reason.data());
    std::fflush(stdout);
}

}  // namespace sluice::testing
