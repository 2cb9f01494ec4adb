// SPDX-License-Identifier: Apache-2.0
#include "net/descriptor_budget.hpp"

#include <algorithm>
#include <atomic>

#include "runtime/kernel/process.hpp"

namespace sluice::detail {

namespace {
std::atomic<std::int64_t> ours{0};
std::atomic<std::int64_t> allowed{INT64_MAX};  // for ours
}  // namespace

void descriptor_budget::acquired() noexcept { ours.fetch_add(1, std::memory_order_relaxed); }

void descriptor_budget::released() noexcept { ours.fetch_sub(1, std::memory_order_relaxed); }

void descriptor_budget::refresh() noexcept {
    const auto limit =
        static_cast<std::int64_t>(std::min<std::uint64_t>(descriptor_limit(), INT64_MAX / 2));
    const auto open = static_cast<std::int64_t>(open_descriptors());
    const std::int64_t others =
        std::max<std::int64_t>(open - ours.load(std::memory_order_relaxed), 0);
    allowed.store(limit - others, std::memory_order_relaxed);
}

std::int64_t descriptor_budget::left() noexcept {
    return allowed.load(std::memory_order_relaxed) - ours.load(std::memory_order_relaxed);
}

bool descriptor_budget::scarce(std::uint32_t headroom) noexcept {
    return left() < std::min<std::int64_t>(headroom, allowed.load(std::memory_order_relaxed) / 4);
}

}  // namespace sluice::detail
