// SPDX-License-Identifier: Apache-2.0
#include "support/allocation_count.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

constinit std::atomic<std::uint64_t> allocated{0};
constinit std::atomic<std::uint64_t> freed{0};

[[maybe_unused]] void* allocate(std::size_t size, std::size_t alignment) noexcept {
    allocated.fetch_add(1, std::memory_order_relaxed);
    const std::size_t wanted = std::max<std::size_t>(size, 1);
    if (alignment <= alignof(std::max_align_t)) return std::malloc(wanted);
    return std::aligned_alloc(alignment, (wanted + alignment - 1) / alignment * alignment);
}

[[maybe_unused]] void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    void* p = allocate(size, alignment);
    if (p == nullptr) throw std::bad_alloc{};
    return p;
}

[[maybe_unused]] void release(void* p) noexcept {
    if (p == nullptr) return;
    freed.fetch_add(1, std::memory_order_relaxed);
    std::free(p);
}

}  // namespace

namespace sluice::testing {

std::uint64_t allocations() noexcept { return allocated.load(std::memory_order_relaxed); }

std::int64_t live_allocations() noexcept {
    return static_cast<std::int64_t>(allocated.load(std::memory_order_relaxed) -
                                     freed.load(std::memory_order_relaxed));
}

}  // namespace sluice::testing

#if !defined(SLUICE_TESTS_TSAN) || !defined(__clang__)
// All forms: a sanitizer replaces each of them, so none reaches another by default.
void* operator new(std::size_t size) { return allocate_or_throw(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }

void* operator new[](std::size_t size) { return allocate_or_throw(size, 1); }
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, 1); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, 1); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { release(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { release(p); }
#endif
