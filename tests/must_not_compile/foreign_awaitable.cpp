// SPDX-License-Identifier: Apache-2.0
// EXPECT: sluice coroutines await sluice awaitables only
// What does not take the environment could neither be cancelled nor counted.
#include <coroutine>

#include "sluice/task.hpp"

sluice::task<> foreign() {
#ifdef CONTROL
    co_await sluice::task<>{};
#else
    co_await std::suspend_always{};
#endif
}
