// SPDX-License-Identifier: Apache-2.0
// EXPECT: a task can be awaited once: write co_await std::move\(task\)
// Awaiting takes the task: an lvalue would stand there afterwards as if it could be awaited again.
#include <utility>

#include "sluice/task.hpp"

sluice::task<int> number();

sluice::task<int> twice() {
    sluice::task<int> t = number();
#ifdef CONTROL
    co_return co_await std::move(t);
#else
    co_return co_await t;
#endif
}
