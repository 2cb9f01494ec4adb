// SPDX-License-Identifier: Apache-2.0
#include "runtime/home_check.hpp"

#include "runtime/fatal.hpp"

namespace sluice::detail {

void used_elsewhere(const reactor& home, const char* what) noexcept {
    constexpr const char* advice =
        "what belongs to a reactor is used on its thread; reactor::post() brings work there";
    if (const reactor* here = reactor::current())
        fatal("%s of reactor %u was used on the thread of reactor %u: %s", what, home.index(),
              here->index(), advice);
    fatal("%s of reactor %u was used on a thread that has no reactor: %s", what, home.index(),
          advice);
}

}  // namespace sluice::detail
