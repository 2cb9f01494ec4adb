// SPDX-License-Identifier: Apache-2.0
//! Runs a scenario on many simulated kernels.
#pragma once

#include <cstdint>
#include <functional>

#include "sim/sim_kernel.hpp"
#include "sim/sim_options.hpp"

namespace sluice::sim {

//! Everything that a scenario draws by lot it takes from sim.random(), so that the seed says all.
using scenario = std::function<void(sim_kernel&)>;

//! Runs it once. False, and the seed, the reason and how to replay it are on standard error, when
//! the world failed (sim_kernel::expect() included) or an exception came out. The seed is printed,
//! too, when the process dies on the way; and by doctest for each of its assertions that fails.
bool run_seed(std::uint64_t seed, const scenario& fn, const sim_options& options = {});

//! Runs seeds first, first + 1, ... and returns how many failed; gives up after a few.
//! The environment can change which: SLUICE_SIM_SEED=N runs that one alone, SLUICE_SIM_SEEDS=N
//! sets their number.
std::uint64_t for_each_seed(std::uint64_t first, std::uint64_t count, const scenario& fn,
                            const sim_options& options = {});

}  // namespace sluice::sim
