// SPDX-License-Identifier: Apache-2.0
// EXPECT: a task runs only when it is awaited
// A coroutine that is called and not awaited never runs.
#include "sluice/task.hpp"

sluice::task<> work();

sluice::task<> forgetful() {
#ifdef CONTROL
    co_await work();
#else
    work();
    co_return;
#endif
}
