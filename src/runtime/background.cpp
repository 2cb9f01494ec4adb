// SPDX-License-Identifier: Apache-2.0
#include "sluice/background.hpp"

#include "runtime/fatal.hpp"

namespace sluice {

background::~background() {
    if (scope_.children() != 0 && !scope_.home().abandoned())
        detail::fatal("a background of reactor %u was destroyed with %zu tasks running: "
                      "co_await its stop() before the object that it is a member of goes",
                      scope_.home().index(), scope_.children());
}

task<result<void>> background::stop() {
    scope_.request_stop();
    auto ended = co_await join();
    if (ended.has_error() && ended.error() == cancelled_error()) co_return result<void>{};
    co_return ended;
}

task<result<void>> background::join() {
    do co_await scope_.join();
    while (scope_.children() != 0);
    co_return scope_.outcome();
}

}  // namespace sluice
