// SPDX-License-Identifier: Apache-2.0
//! Figures of all reactors, said now and then.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <sluice/sluice.hpp>

namespace demo {

inline double per(std::uint64_t amount, double divisor) {
    return divisor > 0 ? static_cast<double>(amount) / divisor : 0;
}
inline double percent(std::uint64_t part, std::uint64_t whole) {
    return per(100 * part, static_cast<double>(whole));
}

//! Every `interval`, until it is cancelled: adds up what `now_of(reactor&)` gives on each reactor
//! of the service, and calls `say(now, before, seconds)`. A reactor that does not answer within the
//! interval counts with what it said last.
template <class Figures, class NowOf, class Say>
sluice::task<> say_figures(sluice::reactor& home, sluice::service& all,
                           std::chrono::milliseconds interval, NowOf now_of, Say say) {
    std::vector<Figures> latest(all.reactors());
    Figures before;
    auto since = home.now();
    for (;;) {
        auto slept = co_await sluice::sleep_for(interval);
        if (!slept) co_return;
        auto asked = sluice::gather(all, now_of, interval);
        auto answers = co_await std::move(asked);
        if (!answers) co_return;
        Figures now;
        for (std::size_t i = 0; i < latest.size(); ++i) {
            latest[i] = (*answers)[i].value_or(latest[i]);
            now += latest[i];
        }
        say(now, before, std::chrono::duration<double>(home.now() - since).count());
        std::fflush(stdout);
        before = now;
        since = home.now();
    }
}

}  // namespace demo
