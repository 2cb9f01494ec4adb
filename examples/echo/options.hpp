// SPDX-License-Identifier: Apache-2.0
//! The command line of sluice-echo.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sluice/endpoint.hpp"
#include "sluice/listener.hpp"
#include "sluice/options.hpp"

namespace echo {

struct options {
    std::vector<unsigned> cores;  // empty: all that the process may use
    bool pin = true;
    sluice::endpoint address;
    std::chrono::milliseconds stats{1000};
    std::chrono::milliseconds idle_timeout{60'000};
    std::chrono::milliseconds drain_timeout{5'000};
    std::uint64_t exit_after_messages = 0;  // 0: never
    std::string log_level = "info";
    sluice::listen_options listen;
    sluice::reactor_options reactor;
};

//! Reads the command line. Nothing: `exit_code` says how to end; the message has been printed.
std::optional<options> parse(int argc, char** argv, int& exit_code);

}  // namespace echo
