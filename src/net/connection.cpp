// SPDX-License-Identifier: Apache-2.0
#include "net/connection.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <new>
#include <utility>

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
      end_(*this) {}

void connection::close(close_awaiter* waiter) noexcept {
    closing_ = true;
    close_waiter_ = waiter;
    recv_.close();
    send_.close();
    for (send_hold* h = holds_; h != nullptr; h = h->next)
        if (h->lender() != nullptr) send_.take_back(*h->lender());
    go_on_ending();
}

void connection::reset_on_close() noexcept {
    if (held_sends_ != 0 || shared_) reset_ = true;
    const linger at_once{1, 0};
    if (!net_.fixed())
        net_.below().set_option(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void connection::operation_ended() noexcept {
    go_on_ending();
    wake_mover();
}

void connection::pause(waiter& mover) noexcept {
    mover_ = &mover;
    recv_.pause();
}

bool connection::moved_away(int duplicate) noexcept {
    recv_.gone();
    recv_.settle_account();
    send_.close();
    net_.moved_out(*this);
    if (owner_ != nullptr) std::exchange(owner_, nullptr)->connection_gone();
    if (held_sends_ == 0) {
        go();
        return false;
    }
    descriptor_ = duplicate;
    descriptor_budget::acquired();
    closing_ = shut_down_ = moved_ = true;
    net_.held().linger_moved(*this);
    return true;
}

// --- zero-copy sends

void connection::add(send_hold& h) noexcept {
    h.next = holds_;
    if (holds_ != nullptr) holds_->previous = &h;
    holds_ = &h;
    ++held_sends_;
    held_bytes_ += h.bytes();
    ++net_.stats().held_sends;
    net_.stats().held_bytes += h.bytes();
}

void connection::remove(send_hold& h) noexcept {
    (h.previous != nullptr ? h.previous->next : holds_) = h.next;
    if (h.next != nullptr) h.next->previous = h.previous;
    --held_sends_;
    held_bytes_ -= h.bytes();
    --net_.stats().held_sends;
    net_.stats().held_bytes -= h.bytes();
}

void connection::let_go() noexcept {
    if (held_sends_ != 0) return;
    net_.held().forget(*this);
    go_on_ending();
}

void connection::reset() noexcept {
    if (std::exchange(reset_, true)) return;
    ++net_.stats().held_resets;
    go_on_ending();
}

// --- the end

void connection::go_on_ending() noexcept {
    if (end_.live()) return;
    if (reset_ && !disconnected_) {
        end_.begin(step::disconnect);
        return;
    }
    if (!closing_ || recv_.live() || send_.busy()) return;
    // Closing alone would leave the end of what is held to the peer.
    if ((held_sends_ != 0 || shared_) && !shut_down_)
        end_.begin(step::shut_down);
    else if (held_sends_ == 0)
        end_.begin(step::close);
}

void connection::done(step s) noexcept {
    switch (s) {
        case step::disconnect: disconnected_ = shut_down_ = true; break;
        case step::shut_down:
            shut_down_ = true;
            if (held_sends_ == 0 || reset_) break;
            net_.held().linger(*this);
            wake_closer();
            break;
        case step::close: closed(); return;
    }
    go_on_ending();
}

void connection::end_operation::begin(step s) noexcept {
    step_ = s;
    connection_.net_.io().submit(*this);
}

void connection::end_operation::prepare(operation& op, io_uring_sqe& sqe) noexcept {
    auto& self = static_cast<end_operation&>(op);
    connection& c = self.connection_;
    static constexpr sockaddr nobody{AF_UNSPEC, {}};
    switch (self.step_) {
        case step::disconnect:  // connect(2): AF_UNSPEC dissolves the association
            io_uring_prep_connect(&sqe, c.descriptor_, &nobody, sizeof nobody);
            break;
        case step::shut_down: io_uring_prep_shutdown(&sqe, c.descriptor_, SHUT_RDWR); break;
        case step::close:
            if (c.net_.fixed())
                io_uring_prep_close_direct(&sqe, static_cast<unsigned>(c.descriptor_));
            else
                io_uring_prep_close(&sqe, c.descriptor_);
            return;
    }
    sqe.flags |= c.net_.descriptor_flags();
}

void connection::end_operation::complete(operation& op, std::int32_t result,
                                         std::uint32_t) noexcept {
    auto& self = static_cast<end_operation&>(op);
    // Cancelled before it began: nothing has been done. Not simply once more: a reactor that is
    // abandoned cancels everything all the time, and what a worker thread is to do (SHUTDOWN) would
    // never begin; but then it has become a reset, which is done at once.
    if (result == -ECANCELED || result == -EINTR)
        self.connection_.go_on_ending();
    else
        self.connection_.done(self.step_);
}

void connection::wake_closer() noexcept {
    if (close_waiter_ != nullptr) std::exchange(close_waiter_, nullptr)->wake();
}

void connection::closed() noexcept {
    recv_.settle_account();
    if (!moved_) net_.remove(*this);
    descriptor_budget::released();
    if (owner_ != nullptr) owner_->connection_gone();
    wake_closer();
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
