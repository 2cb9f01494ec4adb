// SPDX-License-Identifier: Apache-2.0
#include "latency_histogram.hpp"

#include <algorithm>
#include <cmath>

namespace sluice_load {

namespace {

constexpr double lowest = 1.0;
constexpr double highest = 1e12;
constexpr unsigned bin_count = 2777;  // ln(highest / lowest) / ln(1.01)

}  // namespace

latency_histogram::latency_histogram()
    : bins_(std::tuple(axis_type(bin_count, lowest, highest)), storage_type()) {}

void latency_histogram::record(std::chrono::nanoseconds value) {
    const auto nanoseconds = static_cast<double>(value.count());
    bins_(nanoseconds);
    min_ = count_ == 0 ? nanoseconds : std::min(min_, nanoseconds);
    max_ = std::max(max_, nanoseconds);
    sum_ += nanoseconds;
    ++count_;
}

void latency_histogram::merge(const latency_histogram& other) {
    if (other.count_ == 0) return;
    for (int bin = -1; bin <= bins_.axis().size(); ++bin) bins_.at(bin) += other.bins_.at(bin);
    min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
    sum_ += other.sum_;
    count_ += other.count_;
}

double latency_histogram::mean() const {
    return count_ == 0 ? 0.0 : sum_ / static_cast<double>(count_);
}

double latency_histogram::percentile(double percent) const {
    if (count_ == 0) return 0.0;
    const auto rank = std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(std::ceil(percent / 100.0 * static_cast<double>(count_))));
    const auto& axis = bins_.axis();
    std::uint64_t seen = bins_.at(-1);
    if (seen >= rank) return min_;
    for (int bin = 0; bin < axis.size(); ++bin) {
        seen += bins_.at(bin);
        // The middle of a logarithmic bin; the extremes are known exactly.
        if (seen >= rank) return std::clamp(axis.value(bin + 0.5), min_, max_);
    }
    return max_;
}

}  // namespace sluice_load
