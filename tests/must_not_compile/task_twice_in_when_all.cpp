// SPDX-License-Identifier: Apache-2.0
// EXPECT: deleted
// A combinator owns what it awaits: a task can't be in it and elsewhere.
#include <utility>

#include "sluice/when_all.hpp"

sluice::task<int> number();

sluice::task<> twice() {
    auto one = number();
#ifdef CONTROL
    auto two = number();
    static_cast<void>(co_await sluice::when_all(std::move(one), std::move(two)));
#else
    static_cast<void>(co_await sluice::when_all(one, one));
#endif
}
