// SPDX-License-Identifier: Apache-2.0
//! The one source of chance of a simulated world.
#pragma once

#include <cstdint>

namespace sluice::sim {

//! splitmix64. The same seed gives the same numbers on every machine and with every compiler, which
//! the distributions of <random> do not promise.
class random_source {
public:
    explicit random_source(std::uint64_t seed) noexcept : state_(seed) {}

    std::uint64_t next() noexcept {
        state_ += 0x9e3779b97f4a7c15U;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    }

    //! A number in [0, limit); 0 when `limit` is 0. The bias is below 2^-32 for what tests ask.
    std::uint64_t below(std::uint64_t limit) noexcept { return limit == 0 ? 0 : next() % limit; }

    //! A number in [low, high]; `low` when high is not above it.
    std::int64_t between(std::int64_t low, std::int64_t high) noexcept {
        if (high <= low) return low;
        return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
    }

    //! True with this probability. Uses no number when the answer is certain.
    bool chance(double probability) noexcept {
        if (probability <= 0) return false;
        if (probability >= 1) return true;
        return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
    }

private:
    std::uint64_t state_;
};

}  // namespace sluice::sim
