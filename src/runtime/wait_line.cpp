// SPDX-License-Identifier: Apache-2.0
#include "sluice/wait_line.hpp"

#include "runtime/fatal.hpp"

namespace sluice::detail {

void destroyed_in_use(const char* kind, const char* what) noexcept {
    const reactor* home = reactor::current();
    if (home != nullptr && home->abandoned()) return;
    fatal("a%s %s was destroyed while %s: let those who use it end first, in a nursery inside its "
          "scope",
          kind[0] == 'e' ? "n" : "", kind, what);
}

void wait_line::destroyed_in_use() noexcept {
    detail::destroyed_in_use(kind_, "coroutines wait in it");
    while (head_ != nullptr) leave(*head_);
}

}  // namespace sluice::detail
