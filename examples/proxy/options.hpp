// SPDX-License-Identifier: Apache-2.0
//! The command line of sluice-proxy.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "../common/receive_options.hpp"
#include "../common/succession.hpp"
#include "sluice/endpoint.hpp"
#include "sluice/listener.hpp"
#include "sluice/options.hpp"
#include "upstreams.hpp"

namespace proxy {

struct options {
    std::vector<sluice::endpoint> upstreams;
    balance by = balance::round_robin;
    std::chrono::milliseconds upstream_pause{5'000};
    std::chrono::milliseconds connect_timeout{2'000};
    std::chrono::milliseconds idle_timeout{300'000};
    std::chrono::milliseconds drain_timeout{5'000};
    std::chrono::milliseconds stats{1000};
    std::uint32_t max_leases = 16;  // of each direction of a connection
    sluice::listen_options listen;
    sluice::reactor_options reactor;
    demo::nic_options nic;
    demo::succession_options succession;
    bool own_queue = false;  // replies of upstreams come by the rx queue of the core that connects
};

//! Declares the options of sluice-proxy; `to` gets their values when the line is parsed.
void add_options(demo::command_line& line, options& to);

}  // namespace proxy
