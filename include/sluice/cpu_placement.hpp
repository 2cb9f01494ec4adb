// SPDX-License-Identifier: Apache-2.0
//! Which CPUs the interrupts of rx queues go to, seen from the reactors that read the queues.
#pragma once

#include <string>
#include <vector>

namespace sluice {

//! A CPU's place in the machine. CPUs of the same core are hyperthreads of each other.
struct cpu_location {
    unsigned cpu = 0;
    int package = 0;
    int core = 0;   //!< in its package
    int node = -1;  //!< NUMA; -1: not known
};

//! Of all CPUs that are online: /sys/devices/system/cpu, or a folder like it. Empty if it can't be
//! read.
std::vector<cpu_location> cpu_locations(const std::string& folder = "/sys/devices/system/cpu");

enum class irq_place {
    as_it_is,
    same_cpu,   //!< the reactor's: everything of a connection stays in one cache, and shares it
    neighbour,  //!< another core of the same NUMA node: packets and program at the same time
};

//! A CPU for the interrupt of each queue, in order: for nic_request::irq_cpus. Reactor i runs on
//! reactor_cpus[i], and so many reactors share a queue: the first counts. A neighbour is a CPU of
//! the same node that no reactor runs on; one that is no hyperthread of a reactor's is preferred,
//! then one that no other queue has. Where there is none it is the reactor's own CPU. Empty:
//! nothing is to be set.
std::vector<unsigned> irq_cpus_for(const std::vector<unsigned>& reactor_cpus,
                                   unsigned reactors_per_queue, irq_place where,
                                   const std::vector<cpu_location>& machine);

}  // namespace sluice
