// SPDX-License-Identifier: Apache-2.0
// EXPECT: with_timeout needs an awaitable that gives a result<T>
// A timeout is an error: without a result there is no place for it.
#include "sluice/result.hpp"
#include "sluice/task.hpp"
#include "sluice/timeout.hpp"

#ifdef CONTROL
sluice::task<sluice::result<int>> number();
#else
sluice::task<int> number();
#endif

sluice::task<> limited() {
    static_cast<void>(co_await sluice::with_timeout(std::chrono::seconds{1}, number()));
}
