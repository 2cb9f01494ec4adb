// SPDX-License-Identifier: Apache-2.0
// EXPECT: nodiscard|unused-result
// Combinators start nothing before they are awaited.
#include "sluice/timeout.hpp"
#include "sluice/when_all.hpp"

sluice::task<> forgetful() {
    using namespace std::chrono_literals;
#ifdef CONTROL
    static_cast<void>(co_await sluice::when_all(sluice::sleep_for(1s), sluice::sleep_for(1s)));
#else
    sluice::when_all(sluice::sleep_for(1s), sluice::sleep_for(1s));
    co_return;
#endif
}
