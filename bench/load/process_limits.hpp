// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace sluice_load {

/// Raises the soft limit of open descriptors to what so many connections need. Throws fatal_error
/// if the hard limit is lower.
void ensure_descriptors(std::uint64_t connections, unsigned threads);

/// Throws fatal_error if one of the processors is not available to this process.
void check_cpus(const std::vector<int>& cpus);

/// Pins the calling thread, as far as the processor still is available.
void pin_this_thread(int cpu);

/// Processor time this process has used, user and system, in seconds.
double process_cpu_seconds();

}  // namespace sluice_load
