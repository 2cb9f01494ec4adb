// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/timed_wait.hpp"

namespace sluice::detail {

void timed_countdown::arrive() noexcept {
    const std::lock_guard lock(mutex_);
    if (left_ != 0 && --left_ == 0) changed_.notify_all();
}

bool timed_countdown::wait(std::chrono::nanoseconds limit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [this] { return left_ == 0; });
}

}  // namespace sluice::detail
