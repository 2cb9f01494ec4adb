// SPDX-License-Identifier: Apache-2.0
#include "../latency_histogram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

using sluice_load::latency_histogram;
using std::chrono::nanoseconds;

namespace {

std::vector<std::int64_t> some_latencies(std::size_t count, unsigned seed) {
    std::mt19937_64 random(seed);
    std::lognormal_distribution<double> distribution(10.0, 2.0);
    std::vector<std::int64_t> out(count);
    for (auto& each : out) each = 1 + static_cast<std::int64_t>(distribution(random));
    return out;
}

double exact(const std::vector<std::int64_t>& sorted, double percent) {
    const auto rank = std::ceil(percent / 100.0 * static_cast<double>(sorted.size()));
    return static_cast<double>(sorted.at(static_cast<std::size_t>(std::max(rank, 1.0)) - 1));
}

}  // namespace

TEST_CASE("percentiles are within one percent of those of the sorted values") {
    for (const std::size_t count : {1U, 2U, 10U, 999U, 100'000U}) {
        auto values = some_latencies(count, static_cast<unsigned>(count));
        latency_histogram histogram;
        for (const auto value : values) histogram.record(nanoseconds(value));
        std::sort(values.begin(), values.end());
        for (const double percent : {0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
            const double expected = exact(values, percent);
            CHECK(std::abs(histogram.percentile(percent) - expected) <= 0.01 * expected);
        }
        CHECK(histogram.count() == count);
        CHECK(histogram.min() == static_cast<double>(values.front()));
        CHECK(histogram.max() == static_cast<double>(values.back()));
    }
}

TEST_CASE("merging equals recording everything in one") {
    latency_histogram one;
    latency_histogram both;
    latency_histogram other;
    for (const auto value : some_latencies(5'000, 1)) {
        one.record(nanoseconds(value));
        both.record(nanoseconds(value));
    }
    for (const auto value : some_latencies(3'000, 2)) {
        other.record(nanoseconds(value));
        both.record(nanoseconds(value));
    }
    one.merge(other);
    one.merge(latency_histogram());
    CHECK(one.count() == both.count());
    CHECK(one.percentile(50) == both.percentile(50));
    CHECK(one.percentile(99.9) == both.percentile(99.9));
    CHECK(one.min() == both.min());
    CHECK(one.max() == both.max());
    CHECK(one.mean() == doctest::Approx(both.mean()));
}

TEST_CASE("values outside the range of the bins count and keep the extremes") {
    latency_histogram histogram;
    histogram.record(nanoseconds(0));
    histogram.record(std::chrono::seconds(5000));
    CHECK(histogram.count() == 2);
    CHECK(histogram.percentile(1) == 0.0);
    CHECK(histogram.percentile(100) == 5e12);
}

TEST_CASE("nothing recorded gives zeros") {
    const latency_histogram histogram;
    CHECK(histogram.percentile(99) == 0.0);
    CHECK(histogram.min() == 0.0);
    CHECK(histogram.mean() == 0.0);
}
