// SPDX-License-Identifier: Apache-2.0
#include "sim/world.hpp"

#include <cstdio>
#include <cstdlib>

namespace sluice::sim {

world::world(std::uint64_t seed_, const sim_options& options_)
    : seed(seed_),
      options(options_),
      random(seed_),
      tracing(std::getenv("SLUICE_SIM_TRACE") != nullptr) {}

void world::trace(const std::string& what) const {
    constexpr double microsecond = 1000;
    std::fprintf(stderr, "%14.1f us  %s\n", static_cast<double>(clock.now()) / microsecond,
                 what.c_str());
}

}  // namespace sluice::sim
