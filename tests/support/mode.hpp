// SPDX-License-Identifier: Apache-2.0
//! The same tests in every receive mode: SLUICE_TEST_ZCRX=device-less in the environment gives each
//! reactor that a test makes a device-less rx queue.
#pragma once

#include <cstdlib>
#include <string_view>

#include "sluice/options.hpp"

namespace sluice::testing {

//! Whether the environment asks for it.
inline bool zcrx_under_test() {
    const char* asked = std::getenv("SLUICE_TEST_ZCRX");
    return asked != nullptr && std::string_view(asked) == "device-less";
}

//! A small area: many tests in one process, each with a reactor or more.
inline void use_rx_queue(reactor_options& options) {
    options.zcrx.mode = receive_mode::zc;
    options.zcrx.device_less = true;
    options.zcrx.area_bytes = std::size_t{8} << 20;
    options.zcrx.max_area_bytes = options.zcrx.area_bytes;
    options.zcrx.pages = page_kind::small;
}

//! Tests of what only copy mode does ask for it.
inline reactor_options in_mode_under_test(reactor_options options) {
    const bool open = options.zcrx.mode == receive_mode::automatic && !options.zcrx.wanted();
    if (zcrx_under_test() && open) use_rx_queue(options);
    return options;
}

}  // namespace sluice::testing
