// SPDX-License-Identifier: Apache-2.0
#include "upstreams.hpp"

#include <limits>
#include <tuple>

namespace proxy {

namespace {

std::int64_t nanoseconds_of(upstreams::time t) noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}

}  // namespace

bool upstreams::place::fails(time until) noexcept {
    return at_->skipped_until.exchange(nanoseconds_of(until)) == 0;
}

bool upstreams::place::works() noexcept {
    return at_->skipped_until.load() != 0 && at_->skipped_until.exchange(0) != 0;
}

upstreams::upstreams(const std::vector<sluice::endpoint>& addresses, balance by)
    : all_(addresses.size()), by_(by) {
    for (std::size_t i = 0; i < addresses.size(); ++i) all_[i].address = addresses[i];
}

std::optional<upstreams::place> upstreams::next(std::vector<bool>& tried, time now) {
    constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
    const std::size_t first = turn_.fetch_add(1, std::memory_order_relaxed);
    std::size_t best = none;
    std::pair<bool, std::uint32_t> best_rank;
    for (std::size_t i = 0; i < all_.size(); ++i) {
        const std::size_t at = (first + i) % all_.size();
        if (tried[at]) continue;
        const upstream& u = all_[at];
        const std::pair rank(u.skipped_until > nanoseconds_of(now),
                             by_ == balance::least_connections ? u.connections.load() : 0U);
        if (best != none && rank >= best_rank) continue;
        best = at;
        best_rank = rank;
    }
    if (best == none) return std::nullopt;
    tried[best] = true;
    return place(all_[best]);
}

std::uint64_t upstreams::connections() const noexcept {
    std::uint64_t sum = 0;
    for (const upstream& u : all_) sum += u.connections;
    return sum;
}

std::string upstreams::to_string(time now) const {
    std::string text;
    for (const upstream& u : all_) {
        text += (text.empty() ? "" : ", ") + u.address.to_string() + " " +
                std::to_string(u.connections);
        if (u.skipped_until > nanoseconds_of(now)) text += " (down)";
    }
    return text;
}

}  // namespace proxy
