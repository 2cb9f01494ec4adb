// SPDX-License-Identifier: Apache-2.0
/// Operations of parts that need no reactor: timers, stops, buffers.
#include <sluice/buffer.hpp>
#include <sluice/stop.hpp>
#include <sluice/timer.hpp>

#include <array>
#include <memory>
#include <random>
#include <stop_token>
#include <utility>

#include "measure.hpp"

namespace micro {

namespace {

using sluice::rx_buffer;
using sluice::detail::timer_node;
using sluice::detail::timer_set;

class counted_timer final : public timer_node {
public:
    void on_timer() noexcept override { ++expired; }
    static inline int expired = 0;
};

/// 1,000,000 armed timers whose deadlines lie within a minute, as those of idle connections do.
struct timers {
    timers() {
        std::mt19937_64 random(1);
        for (int i = 0; i < many_timers; ++i)
            set.insert(all[static_cast<std::size_t>(i)],
                       static_cast<std::int64_t>(random() % 60'000'000'000) + 1);
    }
    ~timers() {
        for (int i = 0; i < many_timers; ++i) set.cancel(all[static_cast<std::size_t>(i)]);
    }
    timers(const timers&) = delete;
    timers& operator=(const timers&) = delete;

    std::unique_ptr<counted_timer[]> all{new counted_timer[many_timers]};
    timer_set set;
};

double timer_insert_and_cancel() {
    constexpr int count = 2'000'000;
    timers pending;
    std::mt19937_64 random(2);
    std::array<std::int64_t, 1024> deadlines{};
    for (auto& one : deadlines) one = static_cast<std::int64_t>(random() % 60'000'000'000) + 1;
    counted_timer mine;
    const stopwatch since;
    for (int i = 0; i < count; ++i) {
        pending.set.insert(mine, deadlines[static_cast<std::size_t>(i) % deadlines.size()]);
        pending.set.cancel(mine);
    }
    return since.ns_each(count);
}

double timer_expiry() {
    timers pending;
    counted_timer::expired = 0;
    const stopwatch since;
    // A thousand turns of the loop, 60 ms each.
    for (std::int64_t now = 0; now <= 60'000'000'000; now += 60'000'000) pending.set.expire(now);
    const double each = since.ns_each(many_timers);
    return counted_timer::expired == many_timers ? each : -1;
}

class listener final : public sluice::stop_listener {
public:
    void on_stop() noexcept override {}
    void describe(sluice::await_description&) const override {}
};

double stop_listen() {
    constexpr int count = 5'000'000;
    sluice::stop_source source;
    listener mine;
    const stopwatch since;
    for (int i = 0; i < count; ++i) {
        source.listen(mine);
        keep(source);
        source.forget(mine);
    }
    return since.ns_each(count);
}

double std_stop_callback() {
    constexpr int count = 2'000'000;
    std::stop_source source;
    const stopwatch since;
    for (int i = 0; i < count; ++i) {
        const std::stop_callback registered(source.get_token(), [] {});
        keep(registered);
    }
    return since.ns_each(count);
}

double buffer_share() {
    constexpr int count = 5'000'000;
    const std::array<std::byte, 64> bytes{};
    const rx_buffer whole = rx_buffer::copy_of(bytes);
    const stopwatch since;
    for (int i = 0; i < count; ++i) {
        const rx_buffer handle = whole.share();
        keep(handle);
    }
    return since.ns_each(count);
}

double buffer_copy() {
    constexpr int count = 2'000'000;
    const std::array<std::byte, 64> bytes{};
    const stopwatch since;
    for (int i = 0; i < count; ++i) {
        const rx_buffer handle = rx_buffer::copy_of(bytes);
        keep(handle);
    }
    return since.ns_each(count);
}

}  // namespace

void add_sluice_parts(std::vector<operation>& to) {
    to.push_back({"timer insert + cancel among 1000000", "sluice", timer_insert_and_cancel});
    to.push_back({"timer expiry among 1000000", "sluice", timer_expiry});
    to.push_back({"stop: register + deregister", "sluice", stop_listen});
    to.push_back({"stop: register + deregister", "std::stop_callback", std_stop_callback});
    to.push_back({"rx_buffer share + destroy", "sluice", buffer_share});
    to.push_back({"rx_buffer copy of 64 B + destroy", "sluice", buffer_copy});
}

}  // namespace micro
