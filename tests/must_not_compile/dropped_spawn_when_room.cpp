// SPDX-License-Identifier: Apache-2.0
// EXPECT: nodiscard|unused-result
// It waits for room and spawns when it is awaited; spawn() is the one that is called.
#include "sluice/nursery.hpp"

sluice::task<> work();

sluice::task<> forgetful(sluice::nursery& scope) {
#ifdef CONTROL
    static_cast<void>(co_await scope.spawn_when_room(work));
#else
    scope.spawn_when_room(work);
    co_return;
#endif
}
