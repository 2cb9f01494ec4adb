// SPDX-License-Identifier: Apache-2.0
//! Which CPUs a service may use.
#pragma once

#include <string_view>
#include <vector>

#include "sluice/result.hpp"

namespace sluice {

//! Reads "0-3,6" into 0 1 2 3 6, sorted, each once. Error: EINVAL.
result<std::vector<unsigned>> parse_cpu_list(std::string_view text);

//! The CPUs of the calling thread's affinity mask, as many of them as the cgroup's CPU quota pays
//! for (rounded up). Never empty.
std::vector<unsigned> usable_cpus();

}  // namespace sluice
