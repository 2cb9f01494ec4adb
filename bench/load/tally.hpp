// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "failure.hpp"
#include "latency_histogram.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

namespace sluice_load {

/// What one thread did; merged when all have ended.
struct tally {
    static constexpr std::size_t kept_failures = 8;

    std::uint64_t connections_opened = 0;
    std::uint64_t connections_completed = 0;
    std::uint64_t messages = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
    std::array<std::uint64_t, failure_kind_count> failures{};
    std::vector<failure> first_failures;
    latency_histogram latency;
    latency_histogram connect_latency;
    /// The last time data moved or a connection ended as it should.
    std::chrono::steady_clock::time_point last_activity{};

    void add_failure(failure what) {
        ++failures.at(static_cast<std::size_t>(what.kind));
        if (first_failures.size() < kept_failures) first_failures.push_back(std::move(what));
    }

    [[nodiscard]] std::uint64_t count(failure_kind kind) const {
        return failures.at(static_cast<std::size_t>(kind));
    }

    void merge(const tally& other) {
        connections_opened += other.connections_opened;
        connections_completed += other.connections_completed;
        messages += other.messages;
        bytes_sent += other.bytes_sent;
        bytes_received += other.bytes_received;
        for (std::size_t i = 0; i < failures.size(); ++i) failures.at(i) += other.failures.at(i);
        first_failures.insert(first_failures.end(), other.first_failures.begin(),
                              other.first_failures.end());
        latency.merge(other.latency);
        connect_latency.merge(other.connect_latency);
        last_activity = std::max(last_activity, other.last_activity);
    }
};

}  // namespace sluice_load
