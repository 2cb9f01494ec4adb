// SPDX-License-Identifier: Apache-2.0
#include "sim/tcp_connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

namespace sluice::sim {

tcp_connection::tcp_connection(world& w, const sim_address& client, const sim_address& server,
                               buffer_sizes client_buffers, buffer_sizes server_buffers)
    : world_(w),
      pipes_{byte_pipe{w, client_buffers.send, server_buffers.receive},
             byte_pipe{w, server_buffers.send, client_buffers.receive}} {
    ends_[index(end_of::client)].address = client;
    ends_[index(end_of::server)].address = server;
}

void tcp_connection::set_buffers(end_of e, buffer_sizes sizes) noexcept {
    out(e).set_send_buffer(sizes.send);
    in(e).set_receive_buffer(sizes.receive);
}

void tcp_connection::hold_until(std::int64_t time) noexcept {
    for (byte_pipe& p : pipes_) p.hold_until(time);
}

int tcp_connection::take_error(end_of e) noexcept {
    return std::exchange(ends_[index(e)].error, 0);
}

int tcp_connection::send(end_of e, std::span<const std::byte> bytes,
                         const std::shared_ptr<lent_memory>& lent) {
    end& self = ends_[index(e)];
    if (self.error != 0) return -take_error(e);
    if (self.end_sent || self.reset) return -EPIPE;
    if (bytes.empty()) return 0;
    const std::size_t count = std::min({bytes.size(), out(e).room(), std::size_t{INT_MAX}});
    if (count == 0) return -EAGAIN;
    out(e).write(bytes.first(count), lent);
    if (lent != nullptr && world_.random.chance(world_.options.stuck_notice_rate))
        self.stuck.push_back(lent);
    expect_arrival(other(e));
    return static_cast<int>(count);
}

int tcp_connection::receive(end_of e, std::span<std::byte> to) {
    end& self = ends_[index(e)];
    if (in(e).readable() != 0) {
        const std::size_t count = in(e).read(to.first(std::min(to.size(), std::size_t{INT_MAX})));
        expect_arrival(e);
        return static_cast<int>(count);
    }
    if (self.error != 0) return -take_error(e);
    if (in(e).ended() || self.read_shut || self.reset) return 0;
    return -EAGAIN;
}

int tcp_connection::shutdown(end_of e, int how) {
    end& self = ends_[index(e)];
    if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
    if (self.reset) return -ENOTCONN;
    if (how != SHUT_RD && !std::exchange(self.end_sent, true)) {
        out(e).write_end();
        expect_arrival(other(e));
        if (self.observer != nullptr) self.observer->on_writable();
    }
    if (how != SHUT_WR) {
        self.read_shut = true;
        if (self.observer != nullptr) self.observer->on_readable();
    }
    return 0;
}

void tcp_connection::close(end_of e, bool with_reset) {
    end& self = ends_[index(e)];
    if (std::exchange(self.closed, true)) return;
    self.observer = nullptr;
    if (self.reset) return;
    if (with_reset || in(e).readable() != 0) {
        abort(e);
    } else if (!std::exchange(self.end_sent, true)) {
        out(e).write_end();
        expect_arrival(other(e));
    }
}

// This end is gone and says so with a reset behind what is on its way.
void tcp_connection::abort(end_of e) {
    ends_[index(e)].reset = true;
    ends_[index(e)].stuck.clear();
    in(e).cut();
    out(e).write_reset();
    expect_arrival(e);
    expect_arrival(other(e));
}

void tcp_connection::disconnect(end_of e) {
    end& self = ends_[index(e)];
    if (self.reset) return;
    abort(e);
    self.error = ECONNRESET;
    if (self.observer == nullptr) return;
    self.observer->on_readable();
    if (self.observer != nullptr) self.observer->on_writable();
}

void tcp_connection::reset_by_network() {
    for (const end_of e : {end_of::client, end_of::server}) become_reset(e, ECONNRESET);
}

void tcp_connection::become_reset(end_of e, int error) {
    end& self = ends_[index(e)];
    out(e).cut();
    self.stuck.clear();
    expect_arrival(other(e));
    if (std::exchange(self.reset, true) || self.closed) return;
    self.error = error;
    if (self.observer == nullptr) return;
    self.observer->on_readable();
    if (self.observer != nullptr) self.observer->on_writable();
}

bool tcp_connection::can_receive(end_of e) const noexcept {
    const end& self = ends_[index(e)];
    return in(e).readable() != 0 || in(e).ended() || self.error != 0 || self.read_shut ||
           self.reset;
}

bool tcp_connection::can_send(end_of e) const noexcept {
    const end& self = ends_[index(e)];
    return self.error != 0 || self.end_sent || self.reset || out(e).worth_writing();
}

bool tcp_connection::more_to_read(end_of e) const noexcept {
    return in(e).readable() != 0 || in(e).ended();
}

void tcp_connection::expect_arrival(end_of receiver) {
    virtual_clock::event& expected = arrival_event_[index(receiver)];
    world_.clock.cancel(expected);
    const auto time = in(receiver).next_arrival();
    if (!time) return;
    expected =
        world_.clock.at(*time, [self = shared_from_this(), receiver] { self->arrive(receiver); });
}

void tcp_connection::arrive(end_of receiver) {
    end& self = ends_[index(receiver)];
    const bool had_ended = in(receiver).ended();
    const byte_pipe::arrival what = in(receiver).deliver();
    if (what == byte_pipe::arrival::reset) {
        // CLOSE_WAIT: the peer had ended its side, this one had not.
        become_reset(receiver, had_ended && !self.end_sent ? EPIPE : ECONNRESET);
    } else if (self.closed || (self.read_shut && self.end_sent)) {
        if (what == byte_pipe::arrival::data && !std::exchange(self.told_reset, true))
            abort(receiver);
    } else if (self.observer != nullptr) {
        self.observer->on_readable();
    }
    expect_arrival(receiver);
    connection_observer* sender = ends_[index(other(receiver))].observer;
    if (sender != nullptr && out(other(receiver)).worth_writing()) sender->on_writable();
}

}  // namespace sluice::sim
