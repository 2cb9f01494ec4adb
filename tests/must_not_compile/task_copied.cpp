// SPDX-License-Identifier: Apache-2.0
// EXPECT: deleted|implicitly-deleted
// A task has one owner.
#include <utility>

#include "sluice/task.hpp"

sluice::task<> one(sluice::task<> t) {
#ifdef CONTROL
    sluice::task<> other = std::move(t);
#else
    sluice::task<> other = t;
#endif
    co_await std::move(other);
}
