// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace sluice_load {

/// Bytes the whole run may still move in one direction, shared by all threads.
class byte_budget {
public:
    /// 0 means without limit.
    explicit byte_budget(std::uint64_t limit)
        : limited_(limit != 0), remaining_(static_cast<std::int64_t>(limit)) {}

    /// False when the rest is too small. Refusals are final: a caller does not ask again.
    bool take(std::uint64_t bytes) {
        if (!limited_) return true;
        const auto wanted = static_cast<std::int64_t>(bytes);
        if (remaining_.fetch_sub(wanted, std::memory_order_relaxed) >= wanted) return true;
        remaining_.fetch_add(wanted, std::memory_order_relaxed);
        return false;
    }

private:
    bool limited_;
    std::atomic<std::int64_t> remaining_;
};

}  // namespace sluice_load
