// SPDX-License-Identifier: Apache-2.0
#include "net/accept_exchange.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <new>
#include <utility>

#include "net/acceptor.hpp"
#include "runtime/mesh.hpp"
#include "sluice/log.hpp"

namespace sluice::detail {

namespace {

// Null: in none.
const void* service_of(const reactor& r) noexcept {
    return r.port() != nullptr ? &r.port()->group() : nullptr;
}

}  // namespace

bool offset_vote::cast(unsigned meant, unsigned queue) noexcept {
    // The packet was recorded as meant + in_use_, unless no socket was for it and the kernel chose.
    const std::int64_t offset = std::int64_t{meant} + in_use_ - queue;
    if (offset != 0 && offset != 1) return false;
    ++votes_[static_cast<std::size_t>(offset)];
    const std::uint32_t other = 1 - in_use_;
    if (votes_[other] < enough || votes_[other] <= votes_[in_use_]) return false;
    in_use_ = other;
    votes_ = {};
    return true;
}

void accept_exchange::join(acceptor& a, reactor& home) {
    const std::lock_guard lock(mutex_);
    places_.push_back({&a, &home, service_of(home), {}});
}

std::vector<int> accept_exchange::leave(acceptor& a) noexcept {
    const std::lock_guard lock(mutex_);
    const auto at =
        std::find_if(places_.begin(), places_.end(), [&](const place& p) { return p.here == &a; });
    if (at == places_.end()) return {};
    std::vector<int> left = std::move(at->arrived);
    places_.erase(at);
    return left;
}

bool accept_exchange::hand_over(reactor& from, unsigned to, int descriptor) noexcept {
    const std::lock_guard lock(mutex_);
    const auto at = std::find_if(places_.begin(), places_.end(), [&](const place& p) {
        return p.home->index() == to && p.service == service_of(from);
    });
    if (at == places_.end() || at->here->waiting() + at->arrived.size() >= limit_) return false;
    const bool first = at->arrived.empty();
    try {
        at->arrived.push_back(descriptor);
    } catch (const std::bad_alloc&) {
        return false;
    }
    if (!first) return true;  // what takes the others takes it too
    try {
        // The acceptor may have left by then: arrive() looks for it. So may this object, whose
        // group outlives the reactors.
        at->home->post([this, a = at->here] { arrive(*a); });
        return true;
    } catch (const std::bad_alloc&) {
        at->arrived.pop_back();
        return false;
    }
}

void accept_exchange::arrive(acceptor& a) noexcept {
    std::vector<int> taken;
    {
        const std::lock_guard lock(mutex_);
        const auto at = std::find_if(places_.begin(), places_.end(),
                                     [&](const place& p) { return p.here == &a; });
        if (at == places_.end()) return;
        taken = std::exchange(at->arrived, {});
    }
    for (const int descriptor : taken) a.take_over(descriptor);
}

void accept_exchange::learn(int first, unsigned socket, unsigned queue) noexcept {
    if (steer_.by != steering::queue || socket >= steer_.values.size()) return;
    const std::lock_guard lock(mutex_);
    if (!vote_.cast(steer_.values[socket], queue)) return;
    steer_.queue_offset = vote_.in_use();
    try {
        const auto done =
            steer(kernel_, first, static_cast<unsigned>(steer_.values.size()), steer_);
        logger()->log(done ? spdlog::level::info : spdlog::level::warn,
                      "the interface records rx queue + {}: listeners are chosen by that from now "
                      "on{}",
                      steer_.queue_offset, done ? "" : ", but: " + done.error().message());
    } catch (const std::bad_alloc&) {
        vote_ = offset_vote(1 - vote_.in_use());  // tried again with the next votes
    }
}

}  // namespace sluice::detail
