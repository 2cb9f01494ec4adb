// SPDX-License-Identifier: Apache-2.0
// EXPECT: idle_timer::guard needs an awaitable that gives a result<T>
// The end of the time is an error: without a result there is no place for it.
#include "sluice/idle_timer.hpp"
#include "sluice/task.hpp"

#ifdef CONTROL
sluice::task<sluice::result<int>> number();
#else
sluice::task<int> number();
#endif

sluice::task<> guarded(sluice::idle_timer& idle) {
    static_cast<void>(co_await idle.guard(number()));
}
