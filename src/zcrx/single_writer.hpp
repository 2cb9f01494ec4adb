// SPDX-License-Identifier: Apache-2.0
//! A count that one thread writes and others read, without a locked instruction.
#pragma once

#include <atomic>
#include <cstdint>

namespace sluice::detail {

class single_writer_count {
public:
    void add(std::uint64_t n) noexcept { value_.store(get() + n, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t get() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint64_t> value_{0};
};

}  // namespace sluice::detail
