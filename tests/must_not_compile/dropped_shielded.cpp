// SPDX-License-Identifier: Apache-2.0
// EXPECT: nodiscard|unused-result
// A goodbye that is not awaited is not said.
#include "sluice/shielded.hpp"
#include "sluice/task.hpp"

sluice::task<> goodbye();

sluice::task<> forgetful() {
#ifdef CONTROL
    co_await sluice::shielded(goodbye());
#else
    sluice::shielded(goodbye());
    co_return;
#endif
}
