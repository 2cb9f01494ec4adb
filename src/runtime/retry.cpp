// SPDX-License-Identifier: Apache-2.0
#include "sluice/retry.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>

namespace sluice {

namespace {

// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
std::uint64_t next_random(std::uint64_t& state) noexcept {
    std::uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

//! From 0 to 1, 1 excluded.
double fraction(std::uint64_t& state) noexcept {
    return static_cast<double>(next_random(state) >> 11) * 0x1p-53;
}

// Different between processes by the address space's layout, between calls by the count.
std::uint64_t some_seed() noexcept {
    static std::atomic<std::uint64_t> calls{0};
    std::uint64_t state = reinterpret_cast<std::uintptr_t>(&calls) ^
                          (calls.fetch_add(1, std::memory_order_relaxed) << 48);
    state ^= reinterpret_cast<std::uintptr_t>(&state) << 16;
    return next_random(state);
}

}  // namespace

backoff::backoff(const retry_policy& policy) noexcept
    : pause_(static_cast<double>(std::max<std::int64_t>(policy.first_pause.count(), 0))),
      longest_(static_cast<double>(std::max<std::int64_t>(policy.longest_pause.count(), 0))),
      growth_(std::max(policy.growth, 1.0)),
      jitter_(std::clamp(policy.jitter, 0.0, 1.0)),
      state_(policy.seed != 0 ? policy.seed : some_seed()) {}

std::chrono::nanoseconds backoff::next() noexcept {
    constexpr double most = 9.2e18;  // that fits
    const double whole = std::min({pause_, longest_, most});
    pause_ = std::min(pause_ * growth_, most);
    const double chosen = whole * (1.0 - jitter_ * fraction(state_));
    return std::chrono::nanoseconds{static_cast<std::int64_t>(chosen)};
}

bool may_pass(const boost::system::error_code& e) noexcept {
    if (e == error::timeout || e == error::eof) return true;
    if (e.category() != boost::system::system_category()) return false;
    switch (e.value()) {
        case EAGAIN:
        case EADDRNOTAVAIL:
        case ECONNABORTED:
        case ECONNREFUSED:
        case ECONNRESET:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case EINTR:
        case ENETDOWN:
        case ENETRESET:
        case ENETUNREACH:
        case ENOBUFS:
        case EPIPE:
        case ETIMEDOUT: return true;
        default: return false;
    }
}

namespace detail {

void retry_plan::begin(reactor& home) noexcept {
    if (total_.count() > 0)
        deadline_ =
            reactor::clock::time_point{std::chrono::nanoseconds{deadline_after(home, total_)}};
}

std::chrono::nanoseconds retry_plan::next_pause(reactor& home) noexcept {
    constexpr std::chrono::nanoseconds none{-1};
    if (attempts_ == 1) return none;
    if (attempts_ != 0) --attempts_;
    const auto pause = pauses_.next();
    return pause < deadline_ - home.now() ? pause : none;
}

}  // namespace detail
}  // namespace sluice
