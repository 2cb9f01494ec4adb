// SPDX-License-Identifier: Apache-2.0
//! How a test says that it can't run here.
#pragma once

#include <string_view>

namespace sluice::testing {

//! Prints `SKIP: <name of the running test case>: <reason>`, which scripts/test-report counts as a
//! skip. The caller returns afterwards.
void report_skip(std::string_view reason);

}  // namespace sluice::testing
