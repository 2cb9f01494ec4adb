// SPDX-License-Identifier: Apache-2.0
//! The command line of sluice-echo.
#pragma once

#include <chrono>
#include <cstdint>

#include "../common/receive_options.hpp"
#include "../common/succession.hpp"
#include "sluice/listener.hpp"
#include "sluice/options.hpp"

namespace echo {

struct options {
    std::chrono::milliseconds stats{1000};
    std::chrono::milliseconds idle_timeout{60'000};
    std::chrono::milliseconds drain_timeout{5'000};
    std::uint64_t exit_after_messages = 0;  // 0: never
    sluice::listen_options listen;
    sluice::reactor_options reactor;
    demo::nic_options nic;
    demo::succession_options succession;
};

//! Declares the options of sluice-echo; `to` gets their values when the line is parsed.
void add_options(demo::command_line& line, options& to);

}  // namespace echo
