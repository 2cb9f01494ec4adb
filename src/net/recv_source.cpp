// SPDX-License-Identifier: Apache-2.0
#include "net/recv_source.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

#include "net/connection.hpp"
#include "net/net_context.hpp"

namespace sluice::detail {

void starved_list::push(recv_source& s) noexcept {
    s.starved_prev_ = tail_;
    s.starved_next_ = nullptr;
    (tail_ != nullptr ? tail_->starved_next_ : head_) = &s;
    tail_ = &s;
}

void starved_list::remove(recv_source& s) noexcept {
    (s.starved_prev_ != nullptr ? s.starved_prev_->starved_next_ : head_) = s.starved_next_;
    (s.starved_next_ != nullptr ? s.starved_next_->starved_prev_ : tail_) = s.starved_prev_;
}

recv_source::recv_source(connection& owner, net_context& net) noexcept
    : operation(prepare, complete), owner_(owner), net_(net) {}

void recv_source::settle_account() noexcept {
    if (account_ == nullptr) return;
    std::exchange(account_, nullptr)->close();
    net_.zero_copy()->withdraw(std::exchange(cap_, 0));
}

void recv_source::use_zero_copy() {
    if (account_ == nullptr) account_ = &lease_account::open();
    zero_copy_ = true;
}

void recv_source::wait(receive_awaiter& w) {
    if (waiter_ != nullptr)
        throw std::logic_error("sluice: two receives on one stream at the same time");
    waiter_ = &w;
    arm_if_room();
}

void recv_source::forget(receive_awaiter& w) noexcept {
    if (waiter_ == &w) waiter_ = nullptr;
}

void recv_source::prepare(operation& op, io_uring_sqe& sqe) noexcept {
    auto& self = static_cast<recv_source&>(op);
    if (!self.heap_.empty()) {
        io_uring_prep_recv(&sqe, self.owner_.descriptor(), self.heap_.fill(), self.heap_.size(), 0);
        sqe.flags = self.net_.descriptor_flags();
        return;
    }
    if (self.zero_copy_) {
        self.net_.zero_copy()->prepare(sqe, self.owner_.descriptor(), self.room_);
        sqe.flags = self.net_.descriptor_flags();
        return;
    }
    io_uring_prep_recv_multishot(&sqe, self.owner_.descriptor(), nullptr, 0, 0);
    sqe.flags = static_cast<std::uint8_t>(IOSQE_BUFFER_SELECT | self.net_.descriptor_flags());
    sqe.buf_group = provided_buffers::group;
    if (!self.net_.has_receive_limit()) return;
    // The kernel looks at the limit after each receive, so each one is bounded too and the limit
    // leaves room for the last: what is delivered never exceeds the room.
    const std::uint32_t each = std::clamp(self.room_ / 2, 1U, self.net_.buffers().buffer_size());
    self.credit_ = self.room_ - each + 1;
    sqe.len = each;
    sqe.optlen = self.credit_;
}

void recv_source::complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept {
    auto& self = static_cast<recv_source&>(op);
    const bool has_data = result > 0;
    if (!self.heap_.empty())
        self.deliver_from_heap(result);
    else if (has_data)
        self.deliver(flags, static_cast<std::uint32_t>(result));
    else if ((flags & IORING_CQE_F_BUFFER) != 0)
        self.net_.buffers().take_nothing(flags);
    if ((flags & IORING_CQE_F_MORE) == 0) self.on_terminal(result, has_data);
    if (self.has_result()) self.wake_waiter();
}

void recv_source::deliver(std::uint32_t flags, std::uint32_t size) noexcept {
    credit_ -= std::min(credit_, size);
    if (zero_copy_) {
        keep(net_.zero_copy()->take(net_.io().rings().big_half(), size, *account_));
        return;
    }
    rx_buffer slice = net_.buffers().take(flags, size);
    net_.copies().observe();
    keep(std::move(slice));
    if (!closed_ && !net_.has_receive_limit() && credit_ == 0) net_.io().cancel(*this);
}

void recv_source::deliver_from_heap(std::int32_t result) noexcept {
    rx_buffer read = std::move(heap_);
    if (result > 0) keep(read.split(static_cast<std::size_t>(result)));
}

void recv_source::keep(rx_buffer&& slice) noexcept {
    const auto size = static_cast<std::uint32_t>(slice.size());
    net_.stats().bytes_in += size;
    ++net_.stats().receives;
    if (closed_) return;
    try {
        if (worth_copying(slice)) {
            slice = slice.copy();
            ++net_.stats().copied_out;
        } else if (zero_copy_ && slice.block()->source != nullptr) {
            net_.stats().zero_copy_bytes += size;
        }
        slices_.push(slice);
        pending_ += size;
    } catch (const std::bad_alloc&) {
        end(errno_error(ENOMEM));  // bytes are lost, so the connection is
        net_.io().cancel(*this);
    }
}

// A slice keeps its buffer from the kernel. Small ones are not worth that when this connection has
// many or buffers run low; when they run out no slice is, or a few that read slowly would stop all.
// What is copied is bounded by max_pending_bytes for each connection.
bool recv_source::worth_copying(const rx_buffer& slice) const noexcept {
    const reactor_options& options = net_.options();
    const buffer_source* source = slice.block()->source;
    if (source == nullptr) return slice.size() < options.heap_receive_size / 4;
    const supply& from = draws_on();
    if (from.scarce()) return true;
    if (zero_copy_) {
        if (slice.size() < options.zcrx.copy_always_below || hoards()) return true;
        return slice.size() < options.copy_out_below && from.low();
    }
    if (slice.size() >= options.copy_out_below) return false;
    const std::size_t pinned = slices_.count() * net_.buffers().buffer_size();
    return pinned >= options.max_pinned_bytes || from.low();
}

// More chunks than were granted; above the first mark, half of that is too much.
bool recv_source::hoards() const noexcept {
    return account_->held() > (draws_on().low() ? cap_ / 2 : cap_);
}

supply& recv_source::draws_on() const noexcept {
    if (zero_copy_) return *net_.zero_copy();
    return net_.copies();
}

void recv_source::on_terminal(std::int32_t result, bool had_data) noexcept {
    if (closed_) {
        owner_.operation_ended();
        return;
    }
    // With zero copy, all that it may deliver ends a receive in the same way as the end of the
    // stream does.
    const bool credit_used = zero_copy_ && result == 0 && credit_ == 0;
    if (had_data || credit_used || result == -ECANCELED || result == -EINTR || result == -EAGAIN) {
        arm_if_room();
        if (!live() && !paused_) ++net_.stats().capped;  // too much waits
    } else {
        on_failure(-result);
    }
    if (paused_) owner_.operation_ended();
}

void recv_source::on_failure(std::int32_t error_number) noexcept {
    switch (error_number) {
        case 0: end(error::eof); break;
        case ENOSPC:  // the completion queue was full
            ++net_.stats().enospc;
            arm_if_room();
            break;
        case ENOBUFS:
        case ENOMEM: starve(); break;
        case EFAULT:
            if (!zero_copy_) return end(errno_error(EFAULT));
            unreadable_ = true;  // by an ordinary receive
            starve();
            break;
        case EPROTONOSUPPORT:  // not TCP, or not plain TCP
            if (!zero_copy_) return end(errno_error(EPROTONOSUPPORT));
            zero_copy_ = false;
            ++net_.stats().zero_copy_left;
            arm_if_room();
            break;
        default: end(errno_error(error_number));
    }
}

void recv_source::starve() noexcept {
    ++net_.stats().enobufs;
    if (paused_) return;
    starved_ = true;
    draws_on().starve(*this);
}

void recv_source::pause() noexcept {
    if (!std::exchange(paused_, true)) was_armed_ = live() || starved_;
    if (std::exchange(starved_, false)) draws_on().forget(*this);
    net_.io().cancel(*this);
}

void recv_source::go_on() noexcept {
    paused_ = false;
    if (was_armed_ || waiter_ != nullptr) arm_if_room();
}

void recv_source::give_up(remains& to) noexcept {
    // Buffers that this reactor is short of don't leave it for long.
    for (const auto* s : {&net_.copies(), static_cast<supply*>(net_.zero_copy())})
        if (s != nullptr && s->low()) evacuate(s->source());
    to.slices.swap(slices_);
    to.pending = std::exchange(pending_, 0);
    to.ended = ended_;
    to.why_ended = why_ended_;
}

void recv_source::adopt(remains& from) noexcept {
    slices_.swap(from.slices);
    pending_ = std::exchange(from.pending, 0);
    ended_ = from.ended;
    why_ended_ = from.why_ended;
}

std::size_t recv_source::pending_limit() const noexcept {
    return std::max(net_.options().max_pending_bytes, 1U);
}

// Armed again only when half is free: otherwise a slow reader would cost an SQE a slice.
bool recv_source::has_room() const noexcept { return pending_ <= pending_limit() / 2; }

void recv_source::gone() noexcept {
    end(cancelled_error());
    wake_waiter();
}

void recv_source::rearm_starved() noexcept {
    starved_ = false;
    unreadable_ = false;
    ++net_.stats().rearmed;
    arm_if_room();
}

bool recv_source::receive_to_heap() noexcept {
    if (has_room()) {
        const std::size_t room = pending_limit() - pending_;
        try {
            heap_ =
                rx_buffer::of_heap(std::min<std::size_t>(net_.options().heap_receive_size, room));
        } catch (const std::bad_alloc&) {
            return false;
        }
    }
    starved_ = false;
    if (heap_.empty()) return true;  // armed when some of what waits here has been taken
    ++net_.stats().heap_receives;
    net_.io().submit(*this);
    return true;
}

void recv_source::arm_if_room() noexcept {
    if (live() || ended_ || closed_ || starved_ || paused_ || net_.home().abandoned()) return;
    if (!has_room()) return;
    room_ = static_cast<std::uint32_t>(pending_limit() - pending_);
    credit_ = room_;
    if (zero_copy_ && cap_ == 0) cap_ = net_.zero_copy()->grant();
    net_.io().submit(*this);
}

void recv_source::end(boost::system::error_code why) noexcept {
    if (ended_) return;
    ended_ = true;
    why_ended_ = why;
}

void recv_source::wake_waiter() noexcept {
    if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->wake();
}

void recv_source::taken(std::size_t bytes) noexcept {
    pending_ -= bytes;
    arm_if_room();
}

result<rx_buffer> recv_source::take() {
    if (slices_.empty()) return why_ended_;
    rx_buffer b = slices_.pop();
    taken(b.size());
    return b;
}

result<std::size_t> recv_source::take_into(std::span<std::byte> to) {
    if (slices_.empty()) return why_ended_;
    std::size_t copied = 0;
    while (copied < to.size() && !slices_.empty()) {
        rx_buffer& first = slices_.front();
        const rx_buffer part =
            first.size() <= to.size() - copied ? slices_.pop() : first.split(to.size() - copied);
        std::memcpy(to.data() + copied, part.data(), part.size());
        copied += part.size();
    }
    taken(copied);
    return copied;
}

std::size_t recv_source::evacuate(const buffer_source& source) noexcept {
    try {
        const std::size_t moved = slices_.copy_out(source);
        net_.stats().copied_out += moved;
        return moved;
    } catch (const std::bad_alloc&) {
        return 0;  // what could not be copied stays where it is
    }
}

void recv_source::close() noexcept {
    closed_ = true;
    if (!ended_) end(cancelled_error());
    slices_.clear();
    pending_ = 0;
    if (starved_) {
        starved_ = false;
        draws_on().forget(*this);
    }
    wake_waiter();
    net_.io().cancel(*this);
}

}  // namespace sluice::detail
