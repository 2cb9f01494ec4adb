// SPDX-License-Identifier: Apache-2.0
//! Everything that a reactor counts, as one snapshot and as text for Prometheus.
#pragma once

#include <span>
#include <string>

#include "sluice/net_stats.hpp"
#include "sluice/stats.hpp"

namespace sluice {

class reactor;

struct reactor_metrics {
    unsigned reactor = 0;
    bool current = true;  //!< false: an older snapshot, because the reactor did not answer
    reactor_stats runtime{};
    net_stats net{};
};

//! A snapshot, by the reactor's thread. gather(service, metrics_of, limit) asks all reactors.
reactor_metrics metrics_of(reactor& home);

//! Appends the text format 0.0.4: names sluice_..., label reactor="0", HELP and TYPE for each.
void write_prometheus(std::span<const reactor_metrics> reactors, std::string& to);

}  // namespace sluice
