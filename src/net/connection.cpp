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
                               receive_mode mode, bool shared) {
    auto* c =
        new (frame_pool::allocate(sizeof(connection))) connection(net, descriptor, owner, mode);
    // connection_pin, which knows only the name of a connection, finds its count there.
    if (static_cast<void*>(static_cast<pin_count*>(c)) != c) fatal("a connection without a count");
    c->shared_ = shared;
    if (shared && !c->make_extras()) {
        c->destroy();
        throw std::bad_alloc{};
    }
    if (net.zero_copy_for(mode)) {
        try {
            c->use_zero_copy();
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
    : descriptor_(descriptor), mode_(mode), net_(net), owner_(owner), send_(*this, net) {}

connection::~connection() {
    if (extras_ == nullptr) return;
    extras_->~extras();
    frame_pool::deallocate(extras_);
}

void connection::close(close_awaiter* waiter) noexcept {
    closing_ = true;
    close_waiter_ = waiter;
    recv_source::close();
    send_.close();
    if (extras_ != nullptr)
        for (send_hold* h = extras_->holds; h != nullptr; h = h->next)
            if (h->lender() != nullptr) send_.take_back(*h->lender());
    go_on_ending();
}

void connection::reset_on_close() noexcept {
    if (held_sends() != 0 || shared_) reset_ = true;
    const linger at_once{1, 0};
    if (!net_.fixed())
        net_.below().set_option(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void connection::operation_ended() noexcept {
    wake_mover();
    go_on_ending();
}

void connection::pause(waiter& mover) noexcept {
    extras_->mover = &mover;
    recv_source::pause();
}

bool connection::moved_away(int duplicate) noexcept {
    gone();
    settle_account();
    send_.close();
    net_.moved_out(*this);
    if (owner_ != nullptr) std::exchange(owner_, nullptr)->connection_gone();
    if (held_sends() == 0) {
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

bool connection::make_extras() noexcept {
    if (extras_ != nullptr) return true;
    try {
        extras_ = new (frame_pool::allocate(sizeof(extras))) extras(*this);
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

void connection::add(send_hold& h) noexcept {
    h.next = extras_->holds;
    if (extras_->holds != nullptr) extras_->holds->previous = &h;
    extras_->holds = &h;
    ++extras_->held_sends;
    extras_->held_bytes += h.bytes();
    ++net_.stats().held_sends;
    net_.stats().held_bytes += h.bytes();
}

void connection::remove(send_hold& h) noexcept {
    (h.previous != nullptr ? h.previous->next : extras_->holds) = h.next;
    if (h.next != nullptr) h.next->previous = h.previous;
    --extras_->held_sends;
    extras_->held_bytes -= h.bytes();
    --net_.stats().held_sends;
    net_.stats().held_bytes -= h.bytes();
}

void connection::let_go() noexcept {
    if (held_sends() != 0) return;
    net_.held().forget(*this);
    go_on_ending();
}

void connection::reset() noexcept {
    if (reset_) return;
    reset_ = true;
    ++net_.stats().held_resets;
    go_on_ending();
}

// --- the end

void connection::go_on_ending() noexcept {
    if (extras_ != nullptr && extras_->end.live()) return;
    if (reset_ && !disconnected_) {
        extras_->end.begin(end_operation::step::disconnect);
        return;
    }
    if (!closing_ || recv_source::live() || send_.busy()) return;
    // Closing alone would leave the end of what is held to the peer.
    if ((held_sends() != 0 || shared_) && !shut_down_)
        extras_->end.begin(end_operation::step::shut_down);
    else if (held_sends() == 0)
        close_descriptor();
}

void connection::done(end_operation::step s) noexcept {
    shut_down_ = true;
    if (s == end_operation::step::disconnect) {
        disconnected_ = true;
    } else if (held_sends() != 0 && !reset_) {
        net_.held().linger(*this);
        wake_closer();
    }
    go_on_ending();
}

void end_operation::begin(step s) noexcept {
    step_ = s;
    owner_.net().io().submit(*this);
}

void end_operation::prepare(operation& op, io_uring_sqe& sqe) noexcept {
    auto& self = static_cast<end_operation&>(op);
    const connection& c = self.owner_;
    static constexpr sockaddr nobody{AF_UNSPEC, {}};
    if (self.step_ == step::disconnect)  // connect(2): AF_UNSPEC dissolves the association
        io_uring_prep_connect(&sqe, c.descriptor(), &nobody, sizeof nobody);
    else
        io_uring_prep_shutdown(&sqe, c.descriptor(), SHUT_RDWR);
    sqe.flags |= c.net().descriptor_flags();
}

void end_operation::complete(operation& op, std::int32_t result, std::uint32_t) noexcept {
    auto& self = static_cast<end_operation&>(op);
    // Cancelled before it began: nothing has been done. Not simply once more: a reactor that is
    // abandoned cancels everything all the time, and what a worker thread is to do (SHUTDOWN) would
    // never begin; but then it has become a reset, which is done at once.
    if (result == -ECANCELED || result == -EINTR)
        self.owner_.go_on_ending();
    else
        self.owner_.done(self.step_);
}

void connection::wake_closer() noexcept {
    if (close_waiter_ != nullptr) std::exchange(close_waiter_, nullptr)->wake();
}

void connection::closed() noexcept {
    settle_account();
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
    settle_account();
    if (owner_ != nullptr) std::exchange(owner_, nullptr)->connection_gone();
    if (!net_.fixed()) net_.below().close(descriptor_);
    descriptor_budget::released();
    orphaned_.store(true, std::memory_order_release);
}

void connection::destroy_orphan() noexcept { destroy(); }

}  // namespace sluice::detail
