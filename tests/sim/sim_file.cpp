// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_file.hpp"

#include <algorithm>

namespace sluice::sim {

void sim_file::wait(readiness_waiter& w, interest what) { waiters_.push_back({&w, what}); }

void sim_file::forget(readiness_waiter& w) noexcept {
    std::erase_if(waiters_, [&](const entry& e) { return e.who == &w; });
}

void sim_file::notify(interest what) {
    std::vector<readiness_waiter*> told;
    for (const entry& e : waiters_)
        if (e.what == what) told.push_back(e.who);
    std::erase_if(waiters_, [&](const entry& e) { return e.what == what; });
    for (readiness_waiter* w : told) w->on_ready();
}

}  // namespace sluice::sim
