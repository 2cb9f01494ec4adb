// SPDX-License-Identifier: Apache-2.0
#include "../pipeline.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <vector>

using sluice_load::pipeline;
using sluice_load::time_point;
using namespace std::chrono_literals;

TEST_CASE("latency runs from the write of the first byte to the read of the last") {
    pipeline line(10, 2);
    line.begin();
    line.begin();
    CHECK(line.full());
    CHECK(line.unsent() == 20);
    const time_point start{};
    line.on_sent(10, start + 1ms);
    line.on_sent(1, start + 2ms);
    line.on_sent(9, start + 5ms);
    CHECK(line.unsent() == 0);

    std::vector<std::chrono::nanoseconds> latencies;
    const auto record = [&](std::chrono::nanoseconds latency) { latencies.push_back(latency); };
    line.on_received(9, start + 10ms, record);
    CHECK(latencies.empty());
    line.on_received(11, start + 20ms, record);
    CHECK(latencies == std::vector<std::chrono::nanoseconds>{19ms, 18ms});
    CHECK(line.in_flight() == 0);
    CHECK(line.unreceived() == 0);
}

TEST_CASE("one read may complete many messages of one byte") {
    pipeline line(1, 100);
    for (int i = 0; i < 100; ++i) line.begin();
    line.on_sent(100, time_point{});
    int completed = 0;
    line.on_received(100, time_point{} + 1s, [&](std::chrono::nanoseconds latency) {
        CHECK(latency == 1s);
        ++completed;
    });
    CHECK(completed == 100);
}

TEST_CASE("reset begins anew") {
    pipeline line(4, 1);
    line.begin();
    line.on_sent(3, time_point{});
    line.reset();
    CHECK(line.sent() == 0);
    CHECK(line.unsent() == 0);
    CHECK_FALSE(line.full());
}
