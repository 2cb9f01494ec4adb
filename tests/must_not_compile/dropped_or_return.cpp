// SPDX-License-Identifier: Apache-2.0
// EXPECT: nodiscard|unused-result
// Without co_await neither the value nor the error goes anywhere.
#include "sluice/or_return.hpp"

sluice::task<sluice::result<int>> number();

sluice::task<sluice::result<void>> forgetful() {
#ifdef CONTROL
    static_cast<void>(co_await sluice::or_return(number()));
#else
    sluice::or_return(number());
#endif
    co_return sluice::result<void>{};
}
