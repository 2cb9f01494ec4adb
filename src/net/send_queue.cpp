// SPDX-License-Identifier: Apache-2.0
#include "net/send_queue.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <new>
#include <utility>

#include "net/connection.hpp"
#include "net/net_context.hpp"

namespace sluice::detail {

namespace {
constexpr std::size_t most_pieces = 64;                   // of one request
constexpr std::size_t most_bytes = std::size_t{1} << 30;  // the result of a request is an int

// Null: heap memory, or a source without one.
const std::shared_ptr<fixed_region>* region_of(const rx_buffer& buffer) noexcept {
    const buffer_block& block = *buffer.block();
    if (block.source == nullptr) return nullptr;
    const auto& region = block.source->region_of(block);
    return region != nullptr ? &region : nullptr;
}

}  // namespace

struct send_queue::gathered {
    msghdr header{};
    std::array<iovec, most_pieces> vector;
};

struct send_queue::rest {
    send_call* call;
    std::size_t piece;
    std::size_t from;
    std::size_t size;
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return call->piece(piece).subspan(from, size);
    }
};

//! What a zero-copy send is to consist of.
struct send_queue::batch {
    std::array<rest, most_pieces> pieces;
    std::size_t count = 0;
    std::size_t bytes = 0;
    const std::shared_ptr<fixed_region>* region = nullptr;  // that all of it lies in
};

send_queue::send_queue(connection& owner, net_context& net) noexcept
    : operation(prepare, complete),
      tries_zero_copy_(net.held().from() != held_sends::never),
      owner_(owner) {}

void send_queue::unhook() noexcept { net().io().forget(*this); }

brief_error send_queue::refusal() const noexcept {
    if (broken_) return broken_;
    ++net().stats().send_limit_hit;
    return brief_error::of_errno(ENOBUFS);
}

bool send_queue::takes_more() const noexcept {
    return !broken_ && count_ < net().options().max_pending_sends;
}

void send_queue::push(send_call& call) noexcept {
    call.next_ = nullptr;
    (tail_ != nullptr ? tail_->next_ : head_) = &call;
    tail_ = &call;
    ++count_;
    if (!busy()) net().io().at_turn_end(*this);
}

void send_queue::start_soon() noexcept { net().io().at_turn_end(*this); }

void send_queue::at_turn_end() noexcept {
    if (busy() || head_ == nullptr || closed_ || paused_) return;
    if (worth_zero_copy()) zero_copy_ = make_zero_copy();
    if (zero_copy_ != nullptr)
        net().io().submit(*zero_copy_);
    else
        net().io().submit(*this);
}

int send_queue::flags_of(const send_call& call) noexcept {
    return MSG_NOSIGNAL | (call.extent_ == send_extent::all ? MSG_WAITALL : 0);
}

// A SEND of the first call's bytes.
void send_queue::prepare_piece(io_uring_sqe& sqe, std::span<const std::byte> bytes) noexcept {
    head_->in_flight_ = true;
    io_uring_prep_send(&sqe, owner_.descriptor(), bytes.data(), std::min(bytes.size(), most_bytes),
                       flags_of(*head_));
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
        ++self.net().stats().sends;
        if (self.head_->sent_ == 0 && self.count_ == 1 && self.head_->piece_count() == 1)
            self.prepare_piece(sqe, self.head_->piece(0));
        else
            self.prepare_bytes(sqe);
    }
    sqe.flags |= self.net().descriptor_flags();
}

[[gnu::noinline]] void send_queue::prepare_bytes(io_uring_sqe& sqe) noexcept {
    send_call& first = *head_;
    const bool alone = first.next_ == nullptr || first.extent_ != send_extent::all;
    const std::size_t count = first.piece_count();
    if (!(alone && count <= 1) && gather() > 1) {
        io_uring_prep_sendmsg(&sqe, owner_.descriptor(), &gathered_->header,
                              static_cast<unsigned>(flags_of(first)));
        return;
    }
    // One piece, or no memory for a vector: the first piece that has something left.
    std::size_t skip = first.sent_;
    std::size_t i = 0;
    while (i + 1 < count && skip >= first.piece(i).size()) skip -= first.piece(i++).size();
    std::span<const std::byte> bytes;
    if (count != 0) bytes = first.piece(i).subspan(skip);
    prepare_piece(sqe, bytes);
}

// Hands what is left of the calls, piece by piece, to `take(rest)`, until it says false.
template <class Take>
void send_queue::walk(Take take) noexcept {
    for (send_call* call = head_; call != nullptr && call->extent_ == send_extent::all;
         call = call->next_) {
        std::size_t skip = call->sent_;
        for (std::size_t i = 0; i < call->piece_count(); ++i) {
            const std::size_t size = call->piece(i).size();
            if (skip >= size) {
                skip -= size;
                continue;
            }
            if (!take(rest{call, i, skip, size - skip})) return;
            skip = 0;
        }
    }
}

// The call has a part in the request that is being made.
void send_queue::count_in(send_call& call) noexcept {
    if (!call.in_flight_ && &call != head_) ++net().stats().sends_joined;
    call.in_flight_ = true;
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
    walk([&](const rest& r) {
        if (pieces == most_pieces || bytes + r.size > most_bytes) return false;
        if (r.call != head_ && worth_zero_copy(*r.call)) return false;
        gathered_->vector[pieces++] = {const_cast<std::byte*>(r.bytes().data()), r.size};
        bytes += r.size;
        count_in(*r.call);
        return true;
    });
    gathered_->header = {};
    gathered_->header.msg_iov = gathered_->vector.data();
    gathered_->header.msg_iovlen = pieces;
    return pieces;
}

// --- zero copy

bool send_queue::worth_zero_copy(const send_call& call) const noexcept {
    return tries_zero_copy_ && call.memory_ != send_memory::borrowed &&
           call.left() >= net().held().from();
}

// Owned buffers add up; lent memory goes alone, because it is waited for.
bool send_queue::worth_zero_copy() const noexcept {
    if (!tries_zero_copy_) return false;
    if (head_->memory_ != send_memory::owned) return worth_zero_copy(*head_);
    std::size_t bytes = 0;
    for (const send_call* call = head_; call != nullptr && call->memory_ == send_memory::owned;
         call = call->next_) {
        bytes += call->left();
        if (bytes >= net().held().from()) return true;
    }
    return false;
}

// Null: it is to be copied.
send_hold* send_queue::make_zero_copy() noexcept {
    const std::size_t room = net().held().room(owner_);
    if (room == 0) return nullptr;
    batch b;
    collect(b, std::min(room, most_bytes));
    if (b.bytes < net().held().from()) return nullptr;  // too many small pieces
    send_hold* made = owner_.make_extras() ? send_hold::create(owner_, b.count) : nullptr;
    if (made == nullptr) return nullptr;
    for (const rest& r : std::span(b.pieces).first(b.count)) {
        if (const rx_buffer* buffer = r.call->buffer(r.piece))
            made->add(*buffer, r.from, r.size);
        else
            made->add(*r.call, r.bytes());
        count_in(*r.call);
    }
    if (b.region != nullptr && net().held().fixed(b.count))
        made->use_fixed(net().io().fixed_buffers().index_of(*b.region));
    owner_.add(*made);
    return made;
}

// A request has one fixed buffer at most. What lies in another one is left for the next request, if
// there is enough without; else the request does without fixed buffers.
void send_queue::collect(batch& b, std::size_t room) noexcept {
    bool mixed = false;
    walk([&](rest r) {
        if (r.call != head_ &&
            (r.call->memory_ != send_memory::owned || head_->memory_ != send_memory::owned))
            return false;
        if (b.count == most_pieces || b.bytes == room) return false;
        const rx_buffer* buffer = r.call->buffer(r.piece);
        const auto* region = buffer != nullptr ? region_of(*buffer) : nullptr;
        if (b.count == 0) {
            b.region = region;
        } else if (!mixed && region != b.region) {
            if (b.bytes >= net().held().from()) return false;
            mixed = true;
        }
        r.size = std::min(r.size, room - b.bytes);
        b.pieces[b.count++] = r;
        b.bytes += r.size;
        return true;
    });
    if (mixed) b.region = nullptr;
}

void send_queue::accepted(std::int32_t result) noexcept {
    zero_copy_ = nullptr;
    switch (result) {
        case -EOPNOTSUPP:  // of this kind of socket
        case -EINVAL:
        case -ENOMEM:  // that may be locked
        case -ENOBUFS:
        case -EFAULT:
            ++net().stats().zero_copy_refused;
            stop_trying();
            result = -EAGAIN;  // once more, copied
            break;
        default: break;
    }
    ended(result);
}

void send_queue::kernel_copies() noexcept {
    if (!net().options().zero_copy_send_despite_copies) stop_trying();
}

void send_queue::stop_trying() noexcept {
    if (std::exchange(tries_zero_copy_, false)) ++net().stats().zero_copy_ended;
}

// --- results

void send_queue::complete(operation& op, std::int32_t result, std::uint32_t) noexcept {
    auto& self = static_cast<send_queue&>(op);
    if (self.gathered_ != nullptr) {
        frame_pool::deallocate(self.gathered_);
        self.gathered_ = nullptr;
    }
    if (!self.ended_whole(result)) self.ended(result);
}

// The usual end: a single call waits, and all of it has been sent.
inline bool send_queue::ended_whole(std::int32_t result) noexcept {
    if (count_ != 1 || result <= 0 || closed_) return false;
    send_call& call = *head_;
    const auto bytes = static_cast<std::size_t>(result);
    if (!call.in_flight_ || bytes != call.left()) return false;
    net().stats().bytes_out += bytes;
    call.sent_ = call.total_;
    call.in_flight_ = false;
    head_ = tail_ = nullptr;
    count_ = 0;
    call.end();
    owner_.sends_ended();
    return true;
}

[[gnu::noinline]] void send_queue::ended(std::int32_t result) noexcept {
    on_result(result);
    if (closed_)
        owner_.operation_ended();
    else if (head_ != nullptr)
        net().io().at_turn_end(*this);
    else
        owner_.sends_ended();
}

void send_queue::on_result(std::int32_t result) noexcept {
    if (head_ == nullptr) return;  // closed meanwhile
    if (result >= 0) {
        if (head_->extent_ == send_extent::shutdown) {
            broken_ = brief_error::of_errno(EPIPE);
            pop().wake();
        } else {
            deal_out(static_cast<std::size_t>(result));
        }
    } else if (result != -ECANCELED && result != -EINTR && result != -EAGAIN && result != -ENOMEM &&
               result != -ENOBUFS) {
        fail_all(brief_error::of_errno(-result));
    }
    settle_cancelled();
}

void send_queue::deal_out(std::size_t bytes) noexcept {
    net().stats().bytes_out += bytes;
    while (head_ != nullptr && head_->in_flight_) {
        send_call& call = *head_;
        const std::size_t share = std::min(bytes, call.left());
        call.sent_ += share;
        bytes -= share;
        if (call.left() != 0 && !(call.extent_ == send_extent::some && call.sent_ != 0)) break;
        pop().end();
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
        fail(*call, cancelled);
    }
    if (half_way) fail_all(error::broken_send);
}

// For a call that has left the queue. When the kernel has memory of it, and has sent from that,
// nothing but the end of the connection brings it back.
void send_queue::fail(send_call& call, brief_error why) noexcept {
    if (!call.failed_) call.failed_ = why;
    if (call.unreleased_ != 0 && call.sent_ != 0) owner_.reset();
    call.end();
}

void send_queue::fail_all(brief_error why) noexcept {
    if (!broken_) broken_ = why;
    while (head_ != nullptr) fail(pop(), why);
}

send_call& send_queue::pop() noexcept {
    send_call& call = *head_;
    head_ = call.next_;
    if (head_ == nullptr) tail_ = nullptr;
    --count_;
    call.in_flight_ = false;
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
        cancel_request();
        return;
    }
    if (call.unreleased_ != 0 && call.settled()) {  // it waits for its memory
        fail(call, cancelled);
        fail_all(error::broken_send);
        return;
    }
    const bool half_way = call.sent_ != 0;  // between two requests
    remove(call);
    fail(call, cancelled);
    if (half_way) fail_all(error::broken_send);
    if (idle()) owner_.sends_ended();
}

void send_queue::cancel_request() noexcept {
    net().io().cancel(*this);
    if (zero_copy_ != nullptr) net().io().cancel(*zero_copy_);
}

void send_queue::close() noexcept {
    closed_ = true;
    fail_all(cancelled);
    unhook();
    cancel_request();
}

}  // namespace sluice::detail
