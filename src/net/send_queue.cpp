// SPDX-License-Identifier: Apache-2.0
#include "net/send_queue.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>

#include "net/connection.hpp"
#include "net/net_context.hpp"

namespace sluice::detail {

namespace {
constexpr std::size_t most_pieces = 64;                   // of one request
constexpr std::size_t most_bytes = std::size_t{1} << 30;  // the result of a request is an int
}  // namespace

struct send_queue::gathered {
    msghdr header{};
    std::array<iovec, most_pieces> vector;
};

send_queue::send_queue(connection& owner, net_context& net) noexcept
    : operation(prepare, complete), owner_(owner), net_(net) {}

void send_queue::unhook() noexcept { net_.io().forget(*this); }

boost::system::error_code send_queue::refusal() const noexcept {
    if (broken_) return broken_;
    ++net_.stats().send_limit_hit;
    return errno_error(ENOBUFS);
}

bool send_queue::takes_more() const noexcept {
    return !broken_ && count_ < net_.options().max_pending_sends;
}

void send_queue::push(send_call& call) noexcept {
    call.next_ = nullptr;
    (tail_ != nullptr ? tail_->next_ : head_) = &call;
    tail_ = &call;
    ++count_;
    if (!live()) net_.io().at_turn_end(*this);
}

void send_queue::start_soon() noexcept { net_.io().at_turn_end(*this); }

void send_queue::at_turn_end() noexcept {
    if (live() || head_ == nullptr || closed_ || held_) return;
    net_.io().submit(*this);
}

void send_queue::prepare(operation& op, io_uring_sqe& sqe) noexcept {
    auto& self = static_cast<send_queue&>(op);
    if (self.head_ == nullptr) {  // all calls were cancelled while the request was parked
        io_uring_prep_nop(&sqe);
        return;
    }
    if (self.head_->extent_ == send_extent::shutdown) {
        self.head_->in_flight_ = true;
        io_uring_prep_shutdown(&sqe, self.owner_.descriptor(), SHUT_WR);
    } else {
        self.prepare_bytes(sqe);
        ++self.net_.stats().sends;
    }
    sqe.flags |= self.net_.descriptor_flags();
}

void send_queue::prepare_bytes(io_uring_sqe& sqe) noexcept {
    send_call& first = *head_;
    const bool whole = first.extent_ == send_extent::all;
    const int flags = MSG_NOSIGNAL | (whole ? MSG_WAITALL : 0);
    const bool alone = first.next_ == nullptr || !whole;
    const std::size_t count = first.piece_count();
    if (!(alone && count <= 1) && gather() > 1) {
        io_uring_prep_sendmsg(&sqe, owner_.descriptor(), &gathered_->header,
                              static_cast<unsigned>(flags));
        return;
    }
    // One piece, or no memory for a vector: the first piece that has something left.
    std::size_t skip = first.sent_;
    std::size_t i = 0;
    while (i + 1 < count && skip >= first.piece(i).size()) skip -= first.piece(i++).size();
    std::span<const std::byte> bytes;
    if (count != 0) bytes = first.piece(i).subspan(skip);
    bytes = bytes.first(std::min(bytes.size(), most_bytes));
    first.in_flight_ = true;
    io_uring_prep_send(&sqe, owner_.descriptor(), bytes.data(), bytes.size(), flags);
}

// Collects pieces of the first calls into gathered_; returns how many.
std::size_t send_queue::gather() noexcept {
    if (gathered_ == nullptr) {
        try {
            gathered_ = new (frame_pool::allocate(sizeof(gathered))) gathered;
        } catch (const std::bad_alloc&) {
            return 0;
        }
    }
    std::size_t pieces = 0;
    std::size_t bytes = 0;
    bool full = false;
    for (send_call* call = head_; !full && call != nullptr && call->extent_ == send_extent::all;
         call = call->next_) {
        std::size_t skip = call->sent_;
        for (std::size_t i = 0; i < call->piece_count(); ++i) {
            const auto piece = call->piece(i);
            if (skip >= piece.size()) {
                skip -= piece.size();
                continue;
            }
            const auto rest = piece.subspan(skip);
            skip = 0;
            full = pieces == most_pieces || bytes + rest.size() > most_bytes;
            if (full) break;
            gathered_->vector[pieces++] = {const_cast<std::byte*>(rest.data()), rest.size()};
            bytes += rest.size();
            if (!call->in_flight_ && call != head_) ++net_.stats().sends_joined;
            call->in_flight_ = true;
        }
    }
    gathered_->header = {};
    gathered_->header.msg_iov = gathered_->vector.data();
    gathered_->header.msg_iovlen = pieces;
    return pieces;
}

void send_queue::complete(operation& op, std::int32_t result, std::uint32_t) noexcept {
    auto& self = static_cast<send_queue&>(op);
    if (self.gathered_ != nullptr) {
        frame_pool::deallocate(self.gathered_);
        self.gathered_ = nullptr;
    }
    self.on_result(result);
    if (self.closed_)
        self.owner_.operation_ended();
    else if (self.head_ != nullptr)
        self.net_.io().at_turn_end(self);
    else
        self.owner_.sends_ended();
}

void send_queue::on_result(std::int32_t result) noexcept {
    if (head_ == nullptr) return;  // closed meanwhile
    if (result >= 0) {
        if (head_->extent_ == send_extent::shutdown) {
            broken_ = errno_error(EPIPE);
            pop().wake();
        } else {
            deal_out(static_cast<std::size_t>(result));
        }
    } else if (result != -ECANCELED && result != -EINTR && result != -EAGAIN && result != -ENOMEM &&
               result != -ENOBUFS) {
        fail_all(errno_error(-result));
    }
    settle_cancelled();
}

void send_queue::deal_out(std::size_t bytes) noexcept {
    net_.stats().bytes_out += bytes;
    while (head_ != nullptr && head_->in_flight_) {
        send_call& call = *head_;
        const std::size_t share = std::min(bytes, call.left());
        call.sent_ += share;
        bytes -= share;
        if (call.left() != 0 && !(call.extent_ == send_extent::some && call.sent_ != 0)) break;
        pop().wake();
    }
}

// After a request has ended: its calls that were told to stop, and were not completed by it.
void send_queue::settle_cancelled() noexcept {
    bool half_way = false;
    send_call* next = nullptr;
    for (send_call* call = head_; call != nullptr && call->in_flight_; call = next) {
        next = call->next_;
        call->in_flight_ = false;
        if (!call->cancelled_) continue;
        half_way = half_way || call->sent_ != 0;
        remove(*call);
        call->fail(cancelled_error());
    }
    if (half_way) fail_all(error::broken_send);
}

void send_queue::fail_all(const boost::system::error_code& why) noexcept {
    if (!broken_) broken_ = why;
    while (head_ != nullptr) pop().fail(why);
}

send_call& send_queue::pop() noexcept {
    send_call& call = *head_;
    head_ = call.next_;
    if (head_ == nullptr) tail_ = nullptr;
    --count_;
    return call;
}

void send_queue::remove(send_call& call) noexcept {
    send_call* before = nullptr;
    for (send_call* at = head_; at != &call; at = at->next_) before = at;
    (before != nullptr ? before->next_ : head_) = call.next_;
    if (tail_ == &call) tail_ = before;
    --count_;
}

void send_queue::cancel(send_call& call) noexcept {
    call.cancelled_ = true;
    if (call.in_flight_) {
        net_.io().cancel(*this);
        return;
    }
    const bool half_way = call.sent_ != 0;  // between two requests
    remove(call);
    call.fail(cancelled_error());
    if (half_way) fail_all(error::broken_send);
    if (idle()) owner_.sends_ended();
}

void send_queue::close() noexcept {
    closed_ = true;
    fail_all(cancelled_error());
    unhook();
    net_.io().cancel(*this);
}

}  // namespace sluice::detail
