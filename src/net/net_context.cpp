// SPDX-License-Identifier: Apache-2.0
#include "net/net_context.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "runtime/kernel/process.hpp"
#include "runtime/probe.hpp"
#include "sluice/log.hpp"
#include "sluice/timeout.hpp"

namespace sluice {

namespace detail {

result<net_context*> net_context::of(reactor& home) {
    try {
        return &home.locals().get<net_context>(home);
    } catch (const boost::system::system_error& e) {
        return e.code();
    } catch (const std::bad_alloc&) {
        return errno_error(ENOMEM);
    }
}

net_context::net_context(reactor& home)
    : home_(home),
      io_(home.io()),
      owners_(home, home.io().below()),
      receive_limit_(io_.found().has(feature_receive_limit)),
      copies_(*this) {
    if (options().registered_descriptors) {
        const auto registered = register_table();
        fixed_ = registered.has_value();
        if (!fixed_)
            logger()->warn("reactor {}: no registered descriptors: {}; plain ones are used",
                           home_.index(), registered.error().message());
    }
    // First: it may be demanded and not there, and goes by itself.
    if (options().zcrx.mode != receive_mode::copy) {
        bool taken = false;
        zero_copy_ = zc_supply::open(*this, taken);
        if (taken) ask_later();
    }
    buffers_ = provided_buffers::create(
                   io_, options(),
                   [](void* self) noexcept { static_cast<supply*>(self)->returned(); }, &copies_)
                   .value();
    copies_.use(*buffers_);
}

net_context::~net_context() {
    home_.timers().cancel(retry_);
    copies_.unhook();
    for (connection* c = connections_; c != nullptr;) {
        connection* next = c->next;
        c->orphan();
        c = next;
    }
    for (home_node* n = dropped_.take_all(); n != nullptr;) {
        home_node* next = n->next_home;
        static_cast<connection&>(*n).destroy_orphan();
        n = next;
    }
    buffers_->close(io_);
    zero_copy_.reset();
}

result<void> net_context::register_table() {
    io_uring_rsrc_register table{};
    // The kernel takes no more than RLIMIT_NOFILE allows.
    table.nr = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(options().registered_descriptor_slots, descriptor_limit()));
    table.flags = IORING_RSRC_REGISTER_SPARSE;
    const int failed = io_.rings().register_call(IORING_REGISTER_FILES2, &table, sizeof table);
    if (failed < 0) return errno_error(-failed);
    slots_ = table.nr;
    return {};
}

net_stats net_context::snapshot() noexcept {
    net_stats s = stats_;
    s.buffers_total = buffers_->capacity();
    s.buffers_posted = buffers_->posted();
    s.buffers_kernel = buffers_->available();
    s.buffers_lent = buffers_->lent();
    s.copy_ladder = copies_.rungs().stats();
    if (zero_copy_ != nullptr) s.zc_ladder = zero_copy_->rungs().stats();
    s.fixed_regions = io_.fixed_buffers().count();
    s.fixed_refused = io_.fixed_buffers().refused();
    return s;
}

bool net_context::zero_copy_for(receive_mode mode) const noexcept {
    if (mode == receive_mode::automatic) mode = options().zcrx.mode;
    return mode != receive_mode::copy && zero_copy_ != nullptr;
}

result<void> net_context::allows(receive_mode mode) const noexcept {
    if (mode == receive_mode::zc && zero_copy_ == nullptr) return errno_error(EOPNOTSUPP);
    return {};
}

// Those that pin more than others are the first.
std::size_t net_context::evacuate(const buffer_source& source) noexcept {
    std::size_t slices = 0;
    for (connection* c = connections_; c != nullptr; c = c->next)
        slices += c->receiving().waiting_slices();
    const std::size_t average = slices / std::max<std::size_t>(stats_.open, 1);
    std::size_t moved = 0;
    for (const bool hoarders : {true, false})
        for (connection* c = connections_; c != nullptr; c = c->next)
            if ((c->receiving().waiting_slices() > average) == hoarders)
                moved += c->receiving().evacuate(source);
    return moved;
}

void net_context::ask_later() noexcept {
    const auto& options = home_.options().zcrx;
    if (options.mode != receive_mode::automatic || options.bind_retry.count() <= 0) return;
    home_.timers().insert(retry_, deadline_after(home_, options.bind_retry));
}

void net_context::ask_again() noexcept {
    if (home_.draining() || home_.abandoned()) return;
    bool taken = false;
    ++asked_;
    try {
        zero_copy_ = zc_supply::ask_again(*this, taken);
    } catch (const std::exception&) {
        taken = true;  // no memory now
    }
    if (zero_copy_ != nullptr)
        climb();
    else if (taken)
        ask_later();
}

// Their bytes may lie in the area from now on, where only RECV_ZC reads them.
void net_context::climb() noexcept {
    std::size_t climbing = 0;
    for (connection* c = connections_; c != nullptr; c = c->next) {
        if (!zero_copy_for(c->mode())) continue;
        c->receiving().climb();
        ++climbing;
    }
    logger()->info("reactor {}: zero-copy receive from now on, asked {} times for the rx queue: "
                   "{} connections change to it",
                   home_.index(), asked_, climbing);
}

void net_context::add(connection& c) noexcept {
    c.next = connections_;
    c.previous = nullptr;
    if (connections_ != nullptr) connections_->previous = &c;
    connections_ = &c;
    ++stats_.open;
}

void net_context::remove(connection& c) noexcept {
    unlink(c);
    ++stats_.closed;
}

void net_context::moved_out(connection& c) noexcept {
    unlink(c);
    ++stats_.moved_out;
}

void net_context::unlink(connection& c) noexcept {
    (c.previous != nullptr ? c.previous->next : connections_) = c.next;
    if (c.next != nullptr) c.next->previous = c.previous;
    --stats_.open;
}

void net_context::on_stop() noexcept {
    held_.on_stop();
    if (!home_.abandoned()) return;
    for (connection* c = connections_; c != nullptr; c = c->next)
        if (c->held_sends() != 0) c->reset();
}

void net_context::drop_away(connection& c) noexcept {
    if (dropped_.push(c)) io_.wake();
}

void net_context::collect() noexcept {
    buffers_->collect();
    if (zero_copy_ != nullptr) zero_copy_->collect();
    if (!dropped_.empty()) close_dropped();
}

void net_context::close_dropped() noexcept {
    for (home_node* n = dropped_.take_all(); n != nullptr;) {
        home_node* next = n->next_home;
        static_cast<connection&>(*n).close(nullptr);
        n = next;
    }
}

}  // namespace detail

net_stats net_stats_of(reactor& home) {
    auto* net = home.locals().find<detail::net_context>();
    return net != nullptr ? net->snapshot() : net_stats{};
}

zcrx_stats zcrx_stats_of(reactor& home) {
    auto* net = home.locals().find<detail::net_context>();
    if (net == nullptr) return {};
    if (net->zero_copy() == nullptr) {
        zcrx_stats none;
        none.waits = net->asks_again();
        return none;
    }
    return net->zero_copy()->queue().snapshot();
}

}  // namespace sluice
