// SPDX-License-Identifier: Apache-2.0
//! The command line of sluice-sink.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "../common/receive_options.hpp"
#include "../common/succession.hpp"
#include "sluice/file_writer.hpp"
#include "sluice/listener.hpp"
#include "sluice/options.hpp"

namespace sink {

//! When files are synced.
struct sync_policy {
    bool at_end = true;
    std::uint64_t each = 0;  //!< bytes; 0: not in between
};

struct options {
    std::string out;
    bool direct = false;
    sync_policy sync;
    sluice::file_writer_options writing;
    std::chrono::milliseconds stats{1000};
    std::chrono::milliseconds idle_timeout{0};
    std::chrono::milliseconds drain_timeout{5'000};
    sluice::listen_options listen;
    sluice::reactor_options reactor;
    demo::nic_options nic;
    demo::succession_options succession;
};

//! Declares the options of sluice-sink; `to` gets their values when the line is parsed.
void add_options(demo::command_line& line, options& to);

}  // namespace sink
