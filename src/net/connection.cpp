// SPDX-License-Identifier: Apache-2.0
#include "net/connection.hpp"

#include <sys/socket.h>

#include <new>

#include "net/descriptor_budget.hpp"
#include "net/net_context.hpp"
#include "runtime/fatal.hpp"

namespace sluice::detail {

connection& connection::create(net_context& net, int descriptor, connection_owner* owner,
                               receive_mode mode) {
    auto* c =
        new (frame_pool::allocate(sizeof(connection))) connection(net, descriptor, owner, mode);
    // connection_pin, which knows only the name of a connection, finds its count there.
    if (static_cast<void*>(static_cast<pin_count*>(c)) != c) fatal("a connection without a count");
    if (net.zero_copy_for(mode)) {
        try {
            c->recv_.use_zero_copy();
        } catch (...) {
            c->destroy();
            throw;
        }
        ++net.stats().zero_copy_connections;
    }
    net.add(*c);
    return *c;
}

connection::connection(net_context& net, int descriptor, connection_owner* owner,
                       receive_mode mode) noexcept
    : net_(net),
      owner_(owner),
      descriptor_(descriptor),
      mode_(mode),
      recv_(*this, net),
      send_(*this, net),
      close_(*this) {}

void connection::close(close_awaiter* waiter) noexcept {
    closing_ = true;
    close_waiter_ = waiter;
    recv_.close();
    send_.close();
    close_if_quiet();
}

void connection::reset_on_close() noexcept {
    const linger at_once{1, 0};
    if (!net_.fixed())
        net_.below().set_option(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void connection::operation_ended() noexcept {
    close_if_quiet();
    wake_mover();
}

void connection::pause(waiter& mover) noexcept {
    mover_ = &mover;
    recv_.pause();
}

void connection::moved_away() noexcept {
    recv_.gone();
    recv_.settle_account();
    send_.close();
    net_.moved_out(*this);
    if (owner_ != nullptr) owner_->connection_gone();
    go();
}

void connection::close_if_quiet() noexcept {
    if (closing_ && !recv_.live() && !send_.live() && !close_.live()) net_.io().submit(close_);
}

void connection::close_operation::prepare(operation& op, io_uring_sqe& sqe) noexcept {
    connection& c = static_cast<close_operation&>(op).connection_;
    if (c.net_.fixed())
        io_uring_prep_close_direct(&sqe, static_cast<unsigned>(c.descriptor_));
    else
        io_uring_prep_close(&sqe, c.descriptor_);
}

void connection::close_operation::complete(operation& op, std::int32_t result,
                                           std::uint32_t) noexcept {
    connection& c = static_cast<close_operation&>(op).connection_;
    // Cancelled before it began: the descriptor is still open.
    if (result == -ECANCELED || result == -EINTR)
        c.net_.io().submit(op);
    else
        c.closed();
}

void connection::closed() noexcept {
    recv_.settle_account();
    net_.remove(*this);
    descriptor_budget::released();
    if (owner_ != nullptr) owner_->connection_gone();
    if (close_waiter_ != nullptr) close_waiter_->wake();
    go();
}

void pin_count::destroy() noexcept { static_cast<connection*>(this)->destroy(); }

void connection::destroy() noexcept {
    this->~connection();
    frame_pool::deallocate(this);
}

void connection::orphan() noexcept {
    send_.unhook();
    recv_.settle_account();
    if (owner_ != nullptr) std::exchange(owner_, nullptr)->connection_gone();
    if (!net_.fixed()) net_.below().close(descriptor_);
    descriptor_budget::released();
    orphaned_.store(true, std::memory_order_release);
}

void connection::destroy_orphan() noexcept { destroy(); }

}  // namespace sluice::detail
