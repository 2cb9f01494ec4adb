// SPDX-License-Identifier: Apache-2.0
// EXPECT: constraint
// Only the task itself can be ended by or_return, not the one that a combinator makes of it.
#include "sluice/or_return.hpp"
#include "sluice/when_all.hpp"

sluice::task<sluice::result<int>> number();

sluice::task<sluice::result<void>> both() {
#ifdef CONTROL
    static_cast<void>(co_await sluice::when_all(number(), number()));
#else
    static_cast<void>(co_await sluice::when_all(sluice::or_return(number()), number()));
#endif
    co_return sluice::result<void>{};
}
