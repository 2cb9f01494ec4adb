// SPDX-License-Identifier: Apache-2.0
//! The other side of a connection, driven by a script instead of a program.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "sim/network.hpp"
#include "sim/tcp_connection.hpp"

namespace sluice::sim {

//! Reads everything unless told not to. Each step happens `after` so much virtual time from the
//! call; steps of the same time happen in the order of the calls. Steps before the connection is
//! there wait for it; an end waits until everything sent before it has found room.
class peer final : public std::enable_shared_from_this<peer>, private connection_observer {
public:
    using nanoseconds = std::chrono::nanoseconds;

    //! Made by sim_kernel.
    explicit peer(world& w) : world_(w) {}
    ~peer();
    peer(const peer&) = delete;
    peer& operator=(const peer&) = delete;

    void send(std::string bytes, nanoseconds after = {});
    void half_close(nanoseconds after = {});
    void close(nanoseconds after = {});
    //! At once, whatever is still to be sent.
    void reset(nanoseconds after = {});
    void stop_reading(nanoseconds after = {});
    void read_again(nanoseconds after = {});

    [[nodiscard]] bool connected() const noexcept { return connection_ != nullptr; }
    //! Why it could not connect, or how the connection broke: a positive errno.
    [[nodiscard]] int error() const noexcept { return error_; }
    [[nodiscard]] const std::string& received() const noexcept { return received_; }
    //! The other side has ended its stream.
    [[nodiscard]] bool saw_end() const noexcept { return saw_end_; }
    //! It has closed or reset the connection itself.
    [[nodiscard]] bool is_closed() const noexcept { return closed_; }
    //! Its end of the connection in the simulated network.
    [[nodiscard]] const sim_address& address() const noexcept { return connection_->address(end_); }

    // For sim_kernel.
    void start_connect(network& net, const sim_address& from, const sim_address& to);
    void attach(std::shared_ptr<tcp_connection> connection, end_of end);

private:
    enum class ending : unsigned char { none, half_close, close };

    void on_readable() override { read(); }
    void on_writable() override { write(); }
    //! Calls `what(peer&)` later, unless the peer is gone by then.
    template <class What>
    void step(nanoseconds after, What what);
    void read();
    void write();
    void finish(ending how);

    world& world_;
    std::shared_ptr<connect_attempt> attempt_;
    std::shared_ptr<tcp_connection> connection_;
    end_of end_ = end_of::client;
    std::string outbox_;
    std::string received_;
    ending wanted_ = ending::none;
    int error_ = 0;
    bool reading_ = true;
    bool saw_end_ = false;
    bool closed_ = false;
};

}  // namespace sluice::sim
