// SPDX-License-Identifier: Apache-2.0
#include "net/net_context.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "runtime/kernel/process.hpp"
#include "runtime/probe.hpp"
#include "sluice/log.hpp"

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
    : home_(home), io_(home.io()), receive_limit_(io_.found().has(feature_receive_limit)) {
    if (options().registered_descriptors) {
        const auto registered = register_table();
        fixed_ = registered.has_value();
        if (!fixed_)
            logger()->warn("reactor {}: no registered descriptors: {}; plain ones are used",
                           home_.index(), registered.error().message());
    }
    buffers_ =
        provided_buffers::create(
            io_, options(),
            [](void* self) noexcept { static_cast<net_context*>(self)->buffer_returned(); }, this)
            .value();
}

net_context::~net_context() {
    io_.forget(*this);
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
    s.buffers_total = buffers_->count();
    s.buffers_kernel = buffers_->in_ring();
    s.buffers_lent = buffers_->lent();
    s.fixed_regions = io_.fixed_buffers().count();
    s.fixed_refused = io_.fixed_buffers().refused();
    return s;
}

void net_context::starve(recv_source& s) noexcept {
    starved_.push(s);
    buffers_->want();
    buffer_returned();  // one may have come back meanwhile
}

// Bytes that nobody has taken yet may move, and are bounded for each connection.
void net_context::evacuate() noexcept {
    for (connection* c = connections_; c != nullptr && buffers_->in_ring() == 0; c = c->next)
        c->receiving().evacuate();
}

void net_context::buffer_returned() noexcept {
    if (!starved_.empty()) io_.at_turn_end(*this);
}

// In the order in which they ended, no more at a time than there are buffers. Those that find no
// bytes take none, so the next ones follow in the next turn for as long as there are buffers.
void net_context::at_turn_end() noexcept {
    if (!starved_.empty() && buffers_->in_ring() == 0) evacuate();
    for (std::uint32_t n = buffers_->in_ring(); n != 0 && !starved_.empty(); --n) {
        recv_source& s = starved_.front();
        starved_.remove(s);
        s.rearm_starved();
    }
    if (starved_.empty()) return;
    if (buffers_->in_ring() != 0)
        io_.at_turn_end(*this);
    else
        receive_to_heap();
}

// Coroutines hold all buffers, and may hold them until these very bytes have arrived.
void net_context::receive_to_heap() noexcept {
    if (options().heap_receive_size == 0 || home_.abandoned()) return;
    while (!starved_.empty()) {
        recv_source& s = starved_.front();
        if (!s.receive_to_heap()) return;  // no memory: a buffer has to come back
        starved_.remove(s);
    }
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

}  // namespace sluice
