// SPDX-License-Identifier: Apache-2.0
//! What stands behind a tcp_stream: a pooled object that owns the operations in flight.
#pragma once

#include <cstdint>
#include <utility>

#include "net/held_sends.hpp"
#include "net/recv_source.hpp"
#include "net/send_hold.hpp"
#include "net/send_queue.hpp"
#include "runtime/operation.hpp"
#include "sluice/endpoint.hpp"
#include "sluice/home_list.hpp"
#include "sluice/zcrx_options.hpp"

namespace sluice::detail {

class net_context;
class connection_owner;

//! Made from a connected descriptor, which it owns. Ends through close(): cancels what is in
//! flight, waits for the terminal CQEs and for zero-copy sends (held_sends), closes the descriptor,
//! goes back to the pool.
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

    //! The handle has gone. `waiter`, if there is one, is woken when all is done but zero-copy
    //! sends.
    void close(close_awaiter* waiter) noexcept;

    //! Makes close() a reset.
    void reset_on_close() noexcept;

    //! One of the operations has ended after close().
    void operation_ended() noexcept;

    // Zero-copy sends that are not over.

    void add(send_hold& h) noexcept;
    void remove(send_hold& h) noexcept;
    //! After remove(): ends the connection if that was what it waited for.
    void let_go() noexcept;
    [[nodiscard]] std::uint32_t held_sends() const noexcept { return held_sends_; }
    [[nodiscard]] std::size_t held_bytes() const noexcept { return held_bytes_; }
    //! Takes back their memory: disconnects, which the peer sees as a reset.
    void reset() noexcept;
    [[nodiscard]] bool resetting() const noexcept { return reset_; }
    [[nodiscard]] lingering_links& lingering() noexcept { return lingering_; }

    // Moving to another reactor: see tcp_stream::move_to().

    //! No receive is armed any more, and none will be; `mover` is woken when nothing is in flight.
    void pause(waiter& mover) noexcept;
    void stop_pausing() noexcept { mover_ = nullptr; }
    [[nodiscard]] bool quiet() const noexcept { return !recv_.live() && send_.idle(); }
    void sends_ended() noexcept { wake_mover(); }
    //! Another reactor has the descriptor now. With zero-copy sends that are not over it keeps
    //! `duplicate`, which is what returning true says.
    bool moved_away(int duplicate) noexcept;
    //! Somebody else has, or may have, a descriptor of the same socket, so that closing ours does
    //! not end the connection.
    [[nodiscard]] bool shared() const noexcept { return shared_; }
    void set_shared() noexcept { shared_ = true; }

    //! The reactor goes away while a handle lives on: only the descriptor is given back.
    void orphan() noexcept;
    [[nodiscard]] bool orphaned() const noexcept { return orphaned_; }
    //! Frees an orphan, on any thread.
    void destroy_orphan() noexcept;

    // Linked into the list of the reactor's connections.
    connection* previous = nullptr;
    connection* next = nullptr;

private:
    //! The steps to the end, one at a time.
    enum class step : std::uint8_t { disconnect, shut_down, close };
    class end_operation final : public operation {
    public:
        explicit end_operation(connection& c) noexcept
            : operation(prepare, complete), connection_(c) {}
        void begin(step s) noexcept;

    private:
        static void prepare(operation& op, io_uring_sqe& sqe) noexcept;
        static void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
        connection& connection_;
        step step_ = step::close;
    };

    connection(net_context& net, int descriptor, connection_owner* owner,
               receive_mode mode) noexcept;
    ~connection() = default;
    void go_on_ending() noexcept;
    void done(step s) noexcept;
    void wake_closer() noexcept;
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
    bool shut_down_ = false;     // nothing more is sent, and the peer knows or will
    bool reset_ = false;         // wanted
    bool disconnected_ = false;  // and done
    bool shared_ = false;
    bool moved_ = false;  // only zero-copy sends are left here
    std::atomic<bool> orphaned_{false};
    close_awaiter* close_waiter_ = nullptr;
    waiter* mover_ = nullptr;
    send_hold* holds_ = nullptr;
    std::uint32_t held_sends_ = 0;
    std::size_t held_bytes_ = 0;
    lingering_links lingering_;
    recv_source recv_;
    send_queue send_;
    end_operation end_;
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
