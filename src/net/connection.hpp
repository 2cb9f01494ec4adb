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

//! The steps to the end of a connection that others have too, or the kernel still sends for, one at
//! a time.
class end_operation final : public operation {
public:
    //! The last step, the close, is recv_source's.
    enum class step : std::uint8_t { disconnect, shut_down };

    explicit end_operation(connection& owner) noexcept
        : operation(prepare, complete), owner_(owner) {}
    void begin(step s) noexcept;

private:
    static void prepare(operation& op, io_uring_sqe& sqe) noexcept;
    static void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    step step_ = step::disconnect;
    connection& owner_;
};

//! Made from a connected descriptor, which it owns. Ends through close(): cancels what is in
//! flight, waits for the terminal CQEs and for zero-copy sends (held_sends), closes the descriptor,
//! goes back to the pool.
//! Parts are bases rather than members where they can be: they find the whole without a reference
//! to it, and leave each other their padding.
class connection final : public pin_count, public home_node, private recv_source {
public:
    //! Receives without copies if the mode allows it and the reactor has an rx queue. Throws
    //! bad_alloc; the descriptor is the caller's then. `shared`: see shared().
    static connection& create(net_context& net, int descriptor, connection_owner* owner,
                              receive_mode mode = receive_mode::automatic, bool shared = false);

    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    [[nodiscard]] net_context& net() const noexcept { return net_; }
    [[nodiscard]] receive_mode mode() const noexcept { return mode_; }
    recv_source& receiving() noexcept { return *this; }
    send_queue& sending() noexcept { return send_; }

    //! The handle has gone. `waiter`, if there is one, is woken when all is done but zero-copy
    //! sends.
    void close(close_awaiter* waiter) noexcept;

    //! To be called before the first zero-copy send, and before a move. False: no memory.
    [[nodiscard]] bool make_extras() noexcept;

    //! Makes close() a reset.
    void reset_on_close() noexcept;

    //! One of the operations has ended after close().
    void operation_ended() noexcept;

    // Zero-copy sends that are not over.

    void add(send_hold& h) noexcept;
    void remove(send_hold& h) noexcept;
    //! After remove(): ends the connection if that was what it waited for.
    void let_go() noexcept;
    [[nodiscard]] std::uint32_t held_sends() const noexcept {
        return extras_ != nullptr ? extras_->held_sends : 0;
    }
    [[nodiscard]] std::size_t held_bytes() const noexcept {
        return extras_ != nullptr ? extras_->held_bytes : 0;
    }
    //! Takes back their memory: disconnects, which the peer sees as a reset.
    void reset() noexcept;
    [[nodiscard]] bool resetting() const noexcept { return reset_; }
    //! There, once it has held a send.
    [[nodiscard]] lingering_links& lingering() noexcept { return extras_->lingering; }

    // Moving to another reactor: see tcp_stream::move_to().

    //! No receive is armed any more, and none will be; `mover` is woken when nothing is in flight.
    //! The connection must have its extras.
    void pause(waiter& mover) noexcept;
    void stop_pausing() noexcept { extras_->mover = nullptr; }
    [[nodiscard]] bool quiet() const noexcept { return !recv_source::live() && send_.idle(); }
    void sends_ended() noexcept { wake_mover(); }
    //! Another reactor has the descriptor now. With zero-copy sends that are not over it keeps
    //! `duplicate`, which is what returning true says.
    bool moved_away(int duplicate) noexcept;
    //! Somebody else has, or may have, a descriptor of the same socket, so that closing ours does
    //! not end the connection.
    [[nodiscard]] bool shared() const noexcept { return shared_; }

    //! The reactor goes away while a handle lives on: only the descriptor is given back.
    void orphan() noexcept;
    [[nodiscard]] bool orphaned() const noexcept { return orphaned_; }
    //! Frees an orphan, on any thread.
    void destroy_orphan() noexcept;

private:
    friend class recv_source;
    friend class end_operation;

    //! What few connections need.
    struct extras {
        explicit extras(connection& c) noexcept : end(c) {}
        send_hold* holds = nullptr;
        std::uint32_t held_sends = 0;
        std::size_t held_bytes = 0;
        lingering_links lingering;
        waiter* mover = nullptr;
        end_operation end;
    };

    connection(net_context& net, int descriptor, connection_owner* owner,
               receive_mode mode) noexcept;
    ~connection();
    void go_on_ending() noexcept;
    void done(end_operation::step s) noexcept;
    void wake_closer() noexcept;
    void closed() noexcept;
    void wake_mover() noexcept {
        if (extras_ != nullptr && extras_->mover != nullptr && quiet())
            std::exchange(extras_->mover, nullptr)->wake();
    }
    friend class pin_count;
    void destroy() noexcept;

    int descriptor_;  // these in the padding of the bases
    receive_mode mode_;
    bool closing_ : 1 = false;
    bool shut_down_ : 1 = false;     // nothing more is sent, and the peer knows or will
    bool reset_ : 1 = false;         // wanted
    bool disconnected_ : 1 = false;  // and done
    bool shared_ : 1 = false;
    bool moved_ : 1 = false;  // only zero-copy sends are left here
    std::atomic<bool> orphaned_{false};
    net_context& net_;
    connection_owner* owner_;
    close_awaiter* close_waiter_ = nullptr;
    extras* extras_ = nullptr;
    send_queue send_;

public:
    // Linked into the list of the reactor's connections.
    connection* previous = nullptr;
    connection* next = nullptr;
};

inline connection& recv_source::owner() const noexcept {
    return static_cast<connection&>(const_cast<recv_source&>(*this));
}
inline net_context& recv_source::net() const noexcept { return owner().net(); }
inline net_context& send_queue::net() const noexcept { return owner_.net(); }

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
