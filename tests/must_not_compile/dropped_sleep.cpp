// SPDX-License-Identifier: Apache-2.0
// EXPECT: nodiscard|unused-result
// An operation that is made and not awaited never starts.
#include "sluice/task.hpp"
#include "sluice/timeout.hpp"

sluice::task<> forgetful() {
#ifdef CONTROL
    static_cast<void>(co_await sluice::sleep_for(std::chrono::seconds{1}));
#else
    sluice::sleep_for(std::chrono::seconds{1});
    co_return;
#endif
}
