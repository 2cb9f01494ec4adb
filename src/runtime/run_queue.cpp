// SPDX-License-Identifier: Apache-2.0
#include "sluice/run_queue.hpp"

#include <algorithm>
#include <utility>

#include "runtime/probes.hpp"

namespace sluice::detail {

inline void run_queue::resume(std::coroutine_handle<> h) {
    running_ = h;
    SLUICE_PROBE_RESUME(h.address());
    h.resume();
}

std::size_t run_queue::run_turn(std::size_t limit) {
    const std::size_t count = std::min(limit, ready_.size());
    std::size_t ran = 0;
    for (; ran < count && !ready_.empty() && !halted_; ++ran) {
        budget_ = full_budget_;
        resume(ready_.pop().handle);
        while (next_ && !halted_) resume(std::exchange(next_, {}));
    }
    running_ = {};
    return ran;
}

}  // namespace sluice::detail
