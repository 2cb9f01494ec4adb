// SPDX-License-Identifier: Apache-2.0
//! The part of the run queue that has a probe in it. For the loop, which inlines it.
#pragma once

#include <algorithm>
#include <utility>

#include "runtime/probes.hpp"
#include "sluice/run_queue.hpp"

namespace sluice::detail {

inline void run_queue::resume(std::coroutine_handle<> h) {
    running_ = h;
    SLUICE_PROBE_RESUME(h.address());
    h.resume();
}

inline std::size_t run_queue::run_turn(std::size_t limit) {
    const std::size_t count = std::min(limit, ready_.size());
    std::size_t ran = 0;
    for (; ran < count && !ready_.empty() && !halted_; ++ran) {
        budget_ = full_budget_;
        resume(ready_.pop().handle());
        while (next_ && !halted_) resume(std::exchange(next_, {}));
    }
    running_ = {};
    return ran;
}

}  // namespace sluice::detail
