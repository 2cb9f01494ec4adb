// SPDX-License-Identifier: Apache-2.0
#include "net/held_sends.hpp"

#include <algorithm>
#include <utility>

#include "net/connection.hpp"
#include "net/net_context.hpp"
#include "runtime/probe.hpp"
#include "sluice/timeout.hpp"

namespace sluice::detail {

void lingering_list::push(connection& c) noexcept {
    lingering_links& links = c.lingering();
    links.list = this;
    links.previous = tail_;
    links.next = nullptr;
    (tail_ != nullptr ? tail_->lingering().next : head_) = &c;
    tail_ = &c;
}

void lingering_list::remove(connection& c) noexcept {
    lingering_links& links = c.lingering();
    (links.previous != nullptr ? links.previous->lingering().next : head_) = links.next;
    (links.next != nullptr ? links.next->lingering().previous : tail_) = links.previous;
    links.list = nullptr;
}

held_sends::held_sends(net_context& net) noexcept : net_(net) {
    const features& found = net.io().found();
    if (net.options().zero_copy_send_from != 0 && found.has(feature_zero_copy_send))
        from_ = net.options().zero_copy_send_from;
    fixed_vectors_ = found.has(feature_fixed_vectors);
    pays_ = net.options().zero_copy_send_despite_copies;
}

held_sends::~held_sends() { net_.home().timers().cancel(*this); }

std::size_t held_sends::room(const connection& c) noexcept {
    if (net_.home().abandoned()) return 0;  // on_stop() has been
    const reactor_options& limits = net_.options();
    net_stats& stats = net_.stats();
    const auto left = [](std::uint64_t limit, std::uint64_t held) -> std::size_t {
        return limit > held ? static_cast<std::size_t>(limit - held) : 0;
    };
    const std::size_t here = stats.held_sends < limits.max_held_sends
                                 ? left(limits.max_held_bytes, stats.held_bytes)
                                 : 0;
    const std::size_t there = c.held_sends() < limits.max_held_sends_per_connection
                                  ? left(limits.max_held_bytes_per_connection, c.held_bytes())
                                  : 0;
    // Received memory that is sent from does not go back to the kernel either.
    const std::size_t room = net_.running_short() ? 0 : std::min(here, there);
    if (room >= from_) return room;
    ++stats.held_limit_hit;
    // One at a time: the first stays the first until it has given its memory back.
    if (here < from_ && !lingering_.empty()) lingering_.first()->reset();
    return 0;
}

// Of a connection that begins to linger now.
std::int64_t held_sends::deadline() const noexcept {
    const reactor_options& limits = net_.options();
    return deadline_after(
        net_.home(), stopping_ ? std::min(limits.held_send_stop_timeout, limits.held_send_timeout)
                               : limits.held_send_timeout);
}

void held_sends::linger(connection& c) noexcept {
    c.lingering().until = deadline();
    lingering_.push(c);
    ++net_.stats().lingering;
    arm();
}

void held_sends::linger_moved(connection& c) noexcept {
    if (stopping_) {
        linger(c);
        return;
    }
    moved_.push(c);
    ++net_.stats().lingering;
}

void held_sends::forget(connection& c) noexcept {
    if (c.lingering().list == nullptr) return;
    c.lingering().list->remove(c);
    --net_.stats().lingering;
    arm();
}

void held_sends::arm() noexcept {
    timer_set& timers = net_.home().timers();
    timers.cancel(*this);
    if (!lingering_.empty()) timers.insert(*this, lingering_.first()->lingering().until);
}

void held_sends::on_timer() noexcept {
    const std::int64_t now = nanoseconds_of(net_.home().now());
    while (!lingering_.empty() && lingering_.first()->lingering().until <= now) {
        connection& c = *lingering_.first();
        lingering_.remove(c);
        --net_.stats().lingering;
        c.reset();
    }
    arm();
}

void held_sends::on_stop() noexcept {
    if (!std::exchange(stopping_, true)) {
        net_.home().update_time();
        for (connection* c = lingering_.first(); c != nullptr; c = c->lingering().next)
            c->lingering().until = std::min(c->lingering().until, deadline());
        while (!moved_.empty()) {
            connection& c = *moved_.first();
            forget(c);
            linger(c);
        }
        arm();
    }
    if (!net_.home().abandoned()) return;
    for (connection* c = lingering_.first(); c != nullptr; c = c->lingering().next) c->reset();
}

}  // namespace sluice::detail
