// SPDX-License-Identifier: Apache-2.0
// EXPECT: ignoring return value.*nodiscard
// COMPILER: clang
// As dropped_result.cpp, for what a task gives; a task without a result is awaited as it is.
#include "sluice/result.hpp"
#include "sluice/task.hpp"

sluice::task<sluice::result<int>> number();
sluice::task<> nothing();

sluice::task<> forgetful() {
    co_await nothing();
#ifdef CONTROL
    static_cast<void>(co_await number());
#else
    co_await number();
#endif
}
