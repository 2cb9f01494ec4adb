// SPDX-License-Identifier: Apache-2.0
// EXPECT: ignoring return value.*nodiscard
// COMPILER: clang
// The result of an await is an error or a value: neither may be lost unseen.
#include "sluice/task.hpp"
#include "sluice/timeout.hpp"

sluice::task<> forgetful() {
#ifdef CONTROL
    static_cast<void>(co_await sluice::sleep_for(std::chrono::seconds{1}));
#else
    co_await sluice::sleep_for(std::chrono::seconds{1});
#endif
}
