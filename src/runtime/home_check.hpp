// SPDX-License-Identifier: Apache-2.0
//! Whether what belongs to a reactor is used on its thread. Checked in debug builds (the build
//! option `home_checks`), where it costs the load of a thread-local pointer; nothing elsewhere.
#pragma once

#include "sluice/reactor.hpp"

namespace sluice::detail {

#if defined(SLUICE_CHECK_HOME)
inline constexpr bool home_is_checked = true;
#else
inline constexpr bool home_is_checked = false;
#endif

//! Ends the program and names both reactors.
[[noreturn]] void used_elsewhere(const reactor& home, const char* what) noexcept;

//! To be called first by what touches an object of `home`; `what` with its article: "a tcp_stream".
inline void check_home(const reactor& home, const char* what) noexcept {
    if constexpr (home_is_checked)
        if (reactor::current() != &home) [[unlikely]]
            used_elsewhere(home, what);
}

}  // namespace sluice::detail
