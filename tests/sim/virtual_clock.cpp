// SPDX-License-Identifier: Apache-2.0
#include "sim/virtual_clock.hpp"

#include <algorithm>

namespace sluice::sim {

virtual_clock::event virtual_clock::at(std::int64_t time, std::function<void()> fn) {
    const event e{std::max(time, now_), ++sequence_};
    events_.emplace(e, std::move(fn));
    return e;
}

std::optional<std::int64_t> virtual_clock::next() const noexcept {
    if (events_.empty()) return std::nullopt;
    return events_.begin()->first.first;
}

void virtual_clock::advance_to(std::int64_t time) noexcept { now_ = std::max(now_, time); }

void virtual_clock::clear() {
    while (!events_.empty()) {
        const auto gone = std::move(events_);
        events_.clear();
    }
}

void virtual_clock::run_due() {
    if (running_) return;
    running_ = true;
    while (!events_.empty() && events_.begin()->first.first <= now_) {
        const auto fn = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        fn();
    }
    running_ = false;
}

}  // namespace sluice::sim
