// SPDX-License-Identifier: Apache-2.0
//! What all parts of a simulated kernel share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "sim/fault_plan.hpp"
#include "sim/random_source.hpp"
#include "sim/sim_options.hpp"
#include "sim/virtual_clock.hpp"

namespace sluice::sim {

//! Counts for tests that look for leaks.
struct sim_books {
    std::uint64_t open_files = 0;        //!< sockets, rings, counters: whatever keeps them alive
    std::uint64_t requests = 0;          //!< at the kernel, terminal CQE not posted
    std::uint64_t requests_dropped = 0;  //!< ended without a CQE, because their ring was closed
    std::uint64_t cqes = 0;              //!< posted
    std::uint64_t overflows = 0;         //!< CQEs that found the CQ full
    std::uint64_t connections_lost = 0;  //!< accepted, and then no slot of the file table was free
    std::int64_t mappings = 0;           //!< not unmapped
};

struct world {
    world(std::uint64_t seed_, const sim_options& options_);
    world(const world&) = delete;
    world& operator=(const world&) = delete;

    //! Something that a correct program does not do, or a simulation that can't go on.
    void fail(const std::string& reason) const { on_failure(seed, reason); }

    //! One line of the trace: what happened, and when.
    void trace(const std::string& what) const;

    const std::uint64_t seed;
    sim_options options;
    random_source random;
    virtual_clock clock;
    fault_plan faults;
    sim_books books;
    bool tracing;  //!< the environment variable SLUICE_SIM_TRACE is set
    std::function<void(std::uint64_t seed, const std::string& reason)> on_failure;
};

}  // namespace sluice::sim
