// SPDX-License-Identifier: Apache-2.0
#include "sluice/awaitable.hpp"

#include "runtime/fatal.hpp"
#include "sluice/promise.hpp"

namespace sluice::detail {

namespace {
void check_abandoned(const reactor& home) noexcept {
    if (!home.abandoned())
        fatal("a coroutine that waits in an operation was destroyed (reactor %u): let the "
              "operation end, cancel it through its nursery, or keep the task until it has ended",
              home.index());
}
}  // namespace

void waiter::destroyed_while_suspended() noexcept {
    check_abandoned(env_->home);
    env_->stop.forget(*this);
}

void promise_base::destroyed_while_queued() noexcept {
    check_abandoned(env_->home);
    env_->home.queue().remove(*this);
}

}  // namespace sluice::detail
