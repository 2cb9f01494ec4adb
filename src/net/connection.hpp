// SPDX-License-Identifier: Apache-2.0
//! What stands behind a tcp_stream: a pooled object that owns the operations in flight.
#pragma once

#include <cstdint>
#include <utility>

#include "net/recv_source.hpp"
#include "net/send_queue.hpp"
#include "runtime/operation.hpp"
#include "sluice/endpoint.hpp"
#include "sluice/home_list.hpp"
#include "sluice/zcrx_options.hpp"

namespace sluice::detail {

class net_context;
class connection_owner;

//! Made from a connected descriptor, which it owns. Ends through close(): cancels what is in
//! flight, waits for the terminal CQEs, closes the descriptor, goes back to the pool.
class connection final : public pin_count, public home_node {
public:
    //! Receives without copies if the mode allows it and the reactor has an rx queue. Throws
    //! bad_alloc; the descriptor is the caller's then.
    static connection& create(net_context& net, int descriptor, connection_owner* owner,
                              receive_mode mode = receive_mode::automatic);

    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    [[nodiscard]] net_context& net() const noexcept { return net_; }
    [[nodiscard]] receive_mode mode() const noexcept { return mode_; }
    recv_source& receiving() noexcept { return recv_; }
    send_queue& sending() noexcept { return send_; }

    //! The handle has gone. `waiter`, if there is one, is woken when all is done.
    void close(close_awaiter* waiter) noexcept;

    //! Makes close() a reset.
    void reset_on_close() noexcept;

    //! One of the operations has ended after close().
    void operation_ended() noexcept;

    // Moving to another reactor: see tcp_stream::move_to().

    //! No receive is armed any more, and none will be; `mover` is woken when nothing is in flight.
    void pause(waiter& mover) noexcept;
    void stop_pausing() noexcept { mover_ = nullptr; }
    [[nodiscard]] bool quiet() const noexcept { return !recv_.live() && send_.idle(); }
    void sends_ended() noexcept { wake_mover(); }
    //! Another reactor has the descriptor now.
    void moved_away() noexcept;

    //! The reactor goes away while a handle lives on: only the descriptor is given back.
    void orphan() noexcept;
    [[nodiscard]] bool orphaned() const noexcept { return orphaned_; }
    //! Frees an orphan, on any thread.
    void destroy_orphan() noexcept;

    // Linked into the list of the reactor's connections.
    connection* previous = nullptr;
    connection* next = nullptr;

private:
    class close_operation final : public operation {
    public:
        explicit close_operation(connection& c) noexcept
            : operation(prepare, complete), connection_(c) {}

    private:
        static void prepare(operation& op, io_uring_sqe& sqe) noexcept;
        static void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
        connection& connection_;
    };

    connection(net_context& net, int descriptor, connection_owner* owner,
               receive_mode mode) noexcept;
    ~connection() = default;
    void close_if_quiet() noexcept;
    void closed() noexcept;
    void wake_mover() noexcept {
        if (mover_ != nullptr && quiet()) std::exchange(mover_, nullptr)->wake();
    }
    friend class pin_count;
    void destroy() noexcept;

    net_context& net_;
    connection_owner* owner_;
    int descriptor_;
    receive_mode mode_;
    bool closing_ = false;
    std::atomic<bool> orphaned_{false};
    close_awaiter* close_waiter_ = nullptr;
    waiter* mover_ = nullptr;
    recv_source recv_;
    send_queue send_;
    close_operation close_;
};

//! The address at the other end: the kernel's answer, EOPNOTSUPP for a registered descriptor.
result<endpoint> peer_of(const connection& c);

//! Whoever counts connections: a listener with a limit. Told when one of its connections has gone.
class connection_owner {
public:
    virtual void connection_gone() noexcept = 0;

protected:
    ~connection_owner() = default;
};

}  // namespace sluice::detail
