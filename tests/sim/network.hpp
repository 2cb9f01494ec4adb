// SPDX-License-Identifier: Apache-2.0
//! The simulated network: who listens where, and how connections come about.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "sim/sim_address.hpp"
#include "sim/tcp_connection.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

//! A place where connections arrive; they wait here until they are taken.
class accept_queue {
public:
    using arrived_hook = std::function<void()>;

    accept_queue(const sim_address& where, unsigned backlog, buffer_sizes buffers)
        : where_(where), backlog_(backlog), buffers_(buffers) {}
    ~accept_queue() { close(); }
    accept_queue(const accept_queue&) = delete;
    accept_queue& operator=(const accept_queue&) = delete;

    void on_arrival(arrived_hook hook) { hook_ = std::move(hook); }
    void set_backlog(unsigned backlog) noexcept { backlog_ = backlog; }

    [[nodiscard]] bool empty() const noexcept { return waiting_.empty(); }
    //! The first one; null when there is none.
    std::shared_ptr<tcp_connection> take();
    //! Takes no more; what waits is reset.
    void close();

private:
    friend class network;
    [[nodiscard]] bool full() const noexcept { return waiting_.size() + promised_ > backlog_; }

    sim_address where_;
    std::size_t backlog_;
    buffer_sizes buffers_;
    bool open_ = true;
    std::size_t promised_ = 0;  // handshakes under way
    std::deque<std::shared_ptr<tcp_connection>> waiting_;
    arrived_hook hook_;
};

//! One attempt to connect. Dropping it gives the attempt up.
struct connect_attempt {
    //! 0 and the connection, or a positive errno: ECONNREFUSED, ETIMEDOUT.
    std::function<void(int error, std::shared_ptr<tcp_connection>)> done;
};

class network {
public:
    explicit network(world& w) : world_(w) {}

    //! Reserves a port for a socket (`owner` is only a name); picks one when it is 0. EADDRINUSE
    //! unless all owners of the address want to share it.
    int bind(const void* owner, sim_address& address, bool share_port, bool share_address);
    void unbind(const void* owner) noexcept;

    //! From now on connections arrive at `queue`; when several listen on one address, the client's
    //! port decides which.
    void listen(const std::shared_ptr<accept_queue>& queue);

    //! Starts a handshake. What comes of it is told by an event, never from within.
    std::shared_ptr<connect_attempt> connect(const sim_address& from, const sim_address& to,
                                             buffer_sizes buffers);

    //! A port that is not in use.
    std::uint16_t free_port();

private:
    struct binding {
        const void* owner;
        sim_address address;
        bool share_port;
        bool share_address;
    };
    struct handshake {
        std::weak_ptr<connect_attempt> attempt;
        sim_address from;
        sim_address to;
        buffer_sizes buffers;
        unsigned tries = 0;
    };

    std::shared_ptr<accept_queue> find(const sim_address& from, const sim_address& to);
    [[nodiscard]] bool listening(const sim_address& address) const;
    void knock(const handshake& h);
    void answer(const handshake& h, const std::shared_ptr<accept_queue>& queue);
    static void finish(const handshake& h, int error, std::shared_ptr<tcp_connection> made);
    std::int64_t latency() noexcept;

    world& world_;
    std::vector<binding> bindings_;
    std::vector<std::weak_ptr<accept_queue>> queues_;
    std::uint16_t next_port_ = 32768;
};

}  // namespace sluice::sim
