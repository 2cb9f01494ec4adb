// SPDX-License-Identifier: Apache-2.0
#include "sluice/awaitable.hpp"

#include "runtime/fatal.hpp"

namespace sluice::detail {

void waiter::destroyed_while_suspended() noexcept {
    reactor& home = env_->home;
    if (!home.abandoned())
        fatal("a coroutine that waits in an operation was destroyed (reactor %u): let the "
              "operation end, cancel it through its nursery, or keep the task until it has ended",
              home.index());
    env_->stop.forget(*this);
    if (node_.queued) home.queue().remove(node_);
}

}  // namespace sluice::detail
