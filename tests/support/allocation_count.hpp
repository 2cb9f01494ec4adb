// SPDX-License-Identifier: Apache-2.0
//! Counts what goes through the global operator new and delete. A program that links
//! allocation_count.cpp has them replaced, but for clang's ThreadSanitizer, whose own can't be.
#pragma once

#include <cstdint>

#include "support/sanitizers.hpp"

namespace sluice::testing {

//! Where this is false the functions below return 0.
#if defined(SLUICE_TESTS_TSAN) && defined(__clang__)
inline constexpr bool allocations_are_counted = false;
#else
inline constexpr bool allocations_are_counted = true;
#endif
inline constexpr const char* why_not_counted =
    "allocations can't be counted under clang's ThreadSanitizer";

//! Calls of operator new so far, on all threads.
std::uint64_t allocations() noexcept;

//! Blocks that are allocated now.
std::int64_t live_allocations() noexcept;

}  // namespace sluice::testing
