// SPDX-License-Identifier: Apache-2.0
//! The end of a program that broke a rule it can't recover from.
#pragma once

namespace sluice::detail {

//! Prints the message, printf-like, and aborts. Never for a lack of resources.
[[noreturn, gnu::format(printf, 1, 2)]] void fatal(const char* format, ...) noexcept;

}  // namespace sluice::detail
