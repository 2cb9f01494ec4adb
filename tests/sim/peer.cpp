// SPDX-License-Identifier: Apache-2.0
#include "sim/peer.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <utility>

namespace sluice::sim {

peer::~peer() {
    if (connection_ != nullptr) connection_->close(end_, false);
}

void peer::start_connect(network& net, const sim_address& from, const sim_address& to) {
    attempt_ = net.connect(from, to, {world_.options.send_buffer, world_.options.receive_buffer});
    attempt_->done = [this](int error, std::shared_ptr<tcp_connection> made) {
        const auto finished = std::exchange(attempt_, nullptr);
        error_ = error;
        if (made != nullptr) attach(std::move(made), end_of::client);
    };
}

void peer::attach(std::shared_ptr<tcp_connection> connection, end_of end) {
    connection_ = std::move(connection);
    end_ = end;
    connection_->observe(end, this);
    write();
    read();
}

template <class What>
void peer::step(nanoseconds after, What what) {
    world_.clock.after(after.count(), [weak = weak_from_this(), what = std::move(what)] {
        if (const auto self = weak.lock()) what(*self);
    });
}

void peer::send(std::string bytes, nanoseconds after) {
    step(after, [text = std::move(bytes)](peer& self) {
        self.outbox_ += text;
        self.write();
    });
}

void peer::half_close(nanoseconds after) {
    step(after, [](peer& self) { self.finish(ending::half_close); });
}

void peer::close(nanoseconds after) {
    step(after, [](peer& self) { self.finish(ending::close); });
}

void peer::reset(nanoseconds after) {
    step(after, [](peer& self) {
        self.attempt_ = nullptr;
        self.closed_ = true;
        if (self.connection_ != nullptr) self.connection_->close(self.end_, true);
    });
}

void peer::stop_reading(nanoseconds after) {
    step(after, [](peer& self) { self.reading_ = false; });
}

void peer::read_again(nanoseconds after) {
    step(after, [](peer& self) {
        self.reading_ = true;
        self.read();
    });
}

void peer::finish(ending how) {
    wanted_ = std::max(wanted_, how);
    write();
}

void peer::read() {
    std::array<std::byte, 4096> buffer{};
    while (reading_ && !closed_ && !saw_end_ && connection_ != nullptr) {
        const int got = connection_->receive(end_, buffer);
        if (got == -EAGAIN) return;
        if (got > 0) {
            received_.append(reinterpret_cast<const char*>(buffer.data()),
                             static_cast<std::size_t>(got));
            continue;
        }
        if (got < 0)
            error_ = -got;
        else
            saw_end_ = true;
        return;
    }
}

void peer::write() {
    if (connection_ == nullptr || closed_) return;
    while (!outbox_.empty()) {
        const int sent = connection_->send(end_, std::as_bytes(std::span(outbox_)));
        if (sent == -EAGAIN) return;
        if (sent < 0) {
            error_ = -sent;
            outbox_.clear();
            break;
        }
        outbox_.erase(0, static_cast<std::size_t>(sent));
    }
    if (wanted_ == ending::half_close) connection_->shutdown(end_, SHUT_WR);
    if (wanted_ == ending::close) {
        closed_ = true;
        connection_->close(end_, false);
    }
}

}  // namespace sluice::sim
