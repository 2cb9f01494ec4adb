// SPDX-License-Identifier: Apache-2.0
//! Which sanitizer the tests are built with, for what costs more time or stack under one.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define SLUICE_TESTS_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define SLUICE_TESTS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLUICE_TESTS_ASAN 1
#elif __has_feature(thread_sanitizer)
#define SLUICE_TESTS_TSAN 1
#endif
#endif

namespace sluice::testing {

#if defined(SLUICE_TESTS_ASAN)
inline constexpr bool under_asan = true;
#else
inline constexpr bool under_asan = false;
#endif
#if defined(SLUICE_TESTS_TSAN)
inline constexpr bool under_tsan = true;
#else
inline constexpr bool under_tsan = false;
#endif
inline constexpr bool under_sanitizer = under_asan || under_tsan;

}  // namespace sluice::testing
