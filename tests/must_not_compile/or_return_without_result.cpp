// SPDX-License-Identifier: Apache-2.0
// EXPECT: that task must return a result<T>
// An error that ends the task needs a place in what the task returns.
#include "sluice/or_return.hpp"

sluice::task<sluice::result<int>> number();

#ifdef CONTROL
sluice::task<sluice::result<int>> passes_on() {
#else
sluice::task<int> passes_on() {
#endif
    const int n = co_await sluice::or_return(number());
    co_return n;
}
