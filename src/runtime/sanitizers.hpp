// SPDX-License-Identifier: Apache-2.0
//! What the sanitizers must be told of memory and of stacks that change. Nothing in other builds.
#pragma once

#include <cstddef>

#include "sluice/frame_pool.hpp"  // SLUICE_ASAN

#if defined(__SANITIZE_THREAD__)
#define SLUICE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLUICE_TSAN 1
#endif
#endif

#if defined(SLUICE_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(SLUICE_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace sluice::detail {

// Those around a switch are inlined always: a function of their own would be entered on one stack
// and left on the other.

// AddressSanitizer keeps a second stack for variables that may be used after their function has
// returned, and checks addresses against the bounds of the stack: it must know of each switch.

//! Just before a switch to the stack at `low`. `kept` holds what belongs to the stack that is left;
//! null when that one ends.
[[gnu::always_inline]] inline void asan_leave([[maybe_unused]] void** kept,
                                              [[maybe_unused]] const void* low,
                                              [[maybe_unused]] std::size_t size) noexcept {
#if defined(SLUICE_ASAN)
    __sanitizer_start_switch_fiber(kept, low, size);
#endif
}

//! Just after a switch: what was kept, and where to put the bounds of the stack that was left.
[[gnu::always_inline]] inline void asan_arrive([[maybe_unused]] void* kept,
                                               [[maybe_unused]] const void** low,
                                               [[maybe_unused]] std::size_t* size) noexcept {
#if defined(SLUICE_ASAN)
    __sanitizer_finish_switch_fiber(kept, low, size);
#endif
}

inline void asan_unpoison([[maybe_unused]] void* p, [[maybe_unused]] std::size_t size) noexcept {
#if defined(SLUICE_ASAN)
    __asan_unpoison_memory_region(p, size);
#endif
}

// ThreadSanitizer keeps a call stack and a clock for each fiber.

inline void* tsan_create() noexcept {
#if defined(SLUICE_TSAN)
    return __tsan_create_fiber(0);
#else
    return nullptr;
#endif
}

inline void tsan_destroy([[maybe_unused]] void* fiber) noexcept {
#if defined(SLUICE_TSAN)
    if (fiber != nullptr) __tsan_destroy_fiber(fiber);
#endif
}

inline void* tsan_current() noexcept {
#if defined(SLUICE_TSAN)
    return __tsan_get_current_fiber();
#else
    return nullptr;
#endif
}

//! Just before a switch.
[[gnu::always_inline]] inline void tsan_switch([[maybe_unused]] void* fiber) noexcept {
#if defined(SLUICE_TSAN)
    __tsan_switch_to_fiber(fiber, 0);
#endif
}

}  // namespace sluice::detail
