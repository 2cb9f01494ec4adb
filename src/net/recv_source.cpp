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

void recv_source::settle_account() noexcept {
    if (zc_ == nullptr || zc_->account == nullptr) return;
    std::exchange(zc_->account, nullptr)->close();
    net().zero_copy()->withdraw(std::exchange(zc_->cap, 0));
    net().zero_copy()->withdraw(std::exchange(zc_->reserved, 0));
}

recv_source::~recv_source() {
    if (zc_ != nullptr) frame_pool::deallocate(zc_);
}

void recv_source::open_account() {
    if (zc_ == nullptr) zc_ = new (frame_pool::allocate(sizeof *zc_)) zero_copy_state;
    if (zc_->account == nullptr) zc_->account = &lease_account::open();
}

void recv_source::use_zero_copy() {
    open_account();
    zero_copy_ = true;
}

void recv_source::climb() noexcept {
    if (zero_copy_ || climbing_ || closed_ || ended_) return;
    try {
        open_account();
    } catch (const std::bad_alloc&) {
        return;  // it stays with copies
    }
    climbing_ = true;
    if (starved_) {
        starved_ = false;
        net().copies().forget(*this);
        arm();
    } else {
        net().io().cancel(*this);
    }
}

void recv_source::wait(receive_awaiter& w) {
    if (waiter_ != nullptr)
        throw std::logic_error("sluice: two receives on one stream at the same time");
    waiter_ = &w;
    arm();
}

void recv_source::forget(receive_awaiter& w) noexcept {
    if (waiter_ == &w) waiter_ = nullptr;
}

void recv_source::prepare(operation& op, io_uring_sqe& sqe) noexcept {
    auto& self = static_cast<recv_source&>(op);
    if (!self.heap_.empty()) {
        io_uring_prep_recv(&sqe, self.owner().descriptor(), self.heap_.fill(), self.heap_.size(),
                           0);
        sqe.flags = self.net().descriptor_flags();
        return;
    }
    if (self.zero_copy_) {
        self.net().zero_copy()->prepare(sqe, self.owner().descriptor(), self.credit_,
                                        self.zc_->via);
        sqe.flags = self.net().descriptor_flags();
        return;
    }
    io_uring_prep_recv_multishot(&sqe, self.owner().descriptor(), nullptr, 0, 0);
    sqe.flags = static_cast<std::uint8_t>(IOSQE_BUFFER_SELECT | self.net().descriptor_flags());
    sqe.buf_group = provided_buffers::group;
    if (!self.net().has_receive_limit()) return;
    // The kernel looks at the limit after each receive, so each one is bounded too and the limit
    // leaves room for the last: what is delivered never exceeds the credit.
    const std::uint32_t each = std::clamp(self.credit_ / 2, 1U, self.net().buffers().buffer_size());
    self.credit_ -= each - 1;
    sqe.len = each;
    sqe.optlen = self.credit_;
}

inline void recv_source::count_in(std::uint32_t size) noexcept {
    net().stats().bytes_in += size;
    ++net().stats().receives;
}

// worth_copying() of what the kernel has copied to a provided buffer.
inline bool recv_source::worth_copying_copied(std::size_t size) const noexcept {
    const reactor_options& options = net().options();
    const supply& from = net().copies();
    if (from.scarce()) return true;
    if (size >= options.copy_out_below) return false;
    const std::size_t pinned = slices_.count() * net().buffers().buffer_size();
    return pinned >= options.max_pinned_bytes || from.low();
}

inline void recv_source::deliver(std::uint32_t flags, std::uint32_t size) noexcept {
    credit_ -= std::min(credit_, size);
    if (zero_copy_) return deliver_zero_copy(size);
    rx_buffer slice = net().buffers().take(flags, size);
    net().copies().observe();
    if (slices_.empty() && !closed_ && !worth_copying_copied(size)) {
        count_in(size);
        slices_.push(slice);  // the first one: takes no memory
        pending_ += size;
    } else {
        keep(std::move(slice));
    }
    if (!net().has_receive_limit() && credit_ == 0 && !closed_) net().io().cancel(*this);
}

void recv_source::complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept {
    auto& self = static_cast<recv_source&>(op);
    const bool has_data = result > 0;
    const bool from_heap = !self.heap_.empty();
    if (from_heap)
        self.deliver_from_heap(result);
    else if (has_data)
        self.deliver(flags, static_cast<std::uint32_t>(result));
    else if ((flags & IORING_CQE_F_BUFFER) != 0)
        self.net().buffers().take_nothing(flags);
    if ((flags & IORING_CQE_F_MORE) == 0) self.on_terminal(result, has_data, from_heap);
    if (self.waiter_ != nullptr && self.has_result()) self.wake_waiter();
}

[[gnu::noinline]] void recv_source::deliver_zero_copy(std::uint32_t size) noexcept {
    zc_->misses = 0;
    zc_->fill = zc_->fill - zc_->fill / 8 + size / 8;
    net_context& n = net();
    rx_buffer slice = n.zero_copy()->take(n.io().rings().big_half(), size, *zc_->account, zc_->via);
    count_in(size);
    if (closed_) return;
    const bool copies = worth_copying_leased(size);
    if (!copies)
        n.stats().zero_copy_bytes += size;
    else if (zc_->via != 0)
        n.stats().detoured_bytes += size;
    append(std::move(slice), copies);
}

void recv_source::deliver_from_heap(std::int32_t result) noexcept {
    rx_buffer read = std::move(heap_);
    if (result > 0) keep(read.split(static_cast<std::size_t>(result)));
}

[[gnu::noinline]] void recv_source::keep(rx_buffer&& slice) noexcept {
    count_in(static_cast<std::uint32_t>(slice.size()));
    if (!closed_) append(std::move(slice), worth_copying(slice));
}

inline void recv_source::append(rx_buffer&& slice, bool copies) noexcept {
    const auto size = static_cast<std::uint32_t>(slice.size());
    try {
        if (copies) {
            slice = slice.copy();
            ++net().stats().copied_out;
        }
        slices_.push(slice);
        pending_ += size;
    } catch (const std::bad_alloc&) {
        end(brief_error::of_errno(ENOMEM));  // bytes are lost, so the connection is
        net().io().cancel(*this);
    }
}

// A slice keeps its buffer from the kernel. Small ones are not worth that when this connection has
// many or buffers run low; when they run out no slice is, or a few that read slowly would stop all.
// What is copied is bounded by max_pending_bytes for each connection.
bool recv_source::worth_copying(const rx_buffer& slice) const noexcept {
    if (slice.block()->source != nullptr) return worth_copying_copied(slice.size());
    return slice.size() < net().options().heap_receive_size / 4;
}

// The same of what lies in a chunk. A connection hoards that holds more than it was granted; above
// the first mark, half of that is too much.
inline bool recv_source::worth_copying_leased(std::size_t size) const noexcept {
    const reactor_options& options = net().options();
    const supply& from = *net().zero_copy();
    // The area of another reactor is not ours to hold.
    if (zc_->via != 0 || size < options.zcrx.copy_always_below || from.scarce()) return true;
    const bool low = from.low();
    if (zc_->account->held() > (low ? zc_->cap / 2 : zc_->cap)) return true;
    return low && size < options.copy_out_below;
}

supply& recv_source::draws_on() const noexcept {
    if (zero_copy_) return *net().zero_copy();
    return net().copies();
}

void recv_source::on_terminal(std::int32_t result, bool had_data, bool from_heap) noexcept {
    if (closed_) {
        owner().operation_ended();
        return;
    }
    // With zero copy, all that it may deliver ends a receive in the same way as the end of the
    // stream does.
    const bool credit_used = zero_copy_ && result == 0 && credit_ == 0;
    if (had_data || credit_used || result == -ECANCELED || result == -EINTR || result == -EAGAIN) {
        arm();
        if (!live() && !paused_) ++net().stats().capped;  // too much waits
    } else {
        on_failure(-result, from_heap);
    }
    if (paused_) owner().operation_ended();
}

void recv_source::on_failure(std::int32_t error_number, bool from_heap) noexcept {
    switch (error_number) {
        case 0: end(error::eof); break;
        case ENOSPC:  // the completion queue was full
            ++net().stats().enospc;
            arm();
            break;
        case ENOMEM:
            // A NIC without chunks ends no receive, only a copy that cannot be made does.
            if (zero_copy_ && net().zero_copy()->refuses_copies())
                return end(brief_error::of_errno(EOPNOTSUPP));
            [[fallthrough]];
        case ENOBUFS:
            if (zc_ != nullptr)
                zc_->via = 0;  // what the kernel copies, it copies into our own area
            starve();
            break;
        case EFAULT:
            if (climbing_) return arm();  // it lies in the rx queue already
            if (!zero_copy_) return end(brief_error::of_errno(EFAULT));
            if (!from_heap) return detour();
            unreadable_ = true;  // by an ordinary receive
            starve();
            break;
        case EPROTONOSUPPORT:  // not TCP, or not plain TCP
            if (!zero_copy_) return end(brief_error::of_errno(EPROTONOSUPPORT));
            zero_copy_ = false;
            ++net().stats().zero_copy_left;
            arm();
            break;
        default: end(brief_error::of_errno(error_number));
    }
}

// What comes next lies in the area of another queue than the one that was named, since a rule or
// the RSS table has changed, or the connection was accepted on the wrong reactor. Nothing is lost:
// RECV_ZC with the right queue takes it. The other ones are tried in turn; if none has it, the
// program is told, once: the stream can move to where it can be read.
void recv_source::detour() noexcept {
    const std::uint32_t queues = net().zero_copy()->queues();
    if (++zc_->misses < queues) {
        zc_->via = (zc_->via + 1) % queues;
        ++net().stats().detours;
    } else {
        zc_->misses = zc_->via = 0;
        elsewhere_ = true;
    }
    arm();
}

void recv_source::starve() noexcept {
    ++net().stats().enobufs;
    if (paused_) return;
    starved_ = true;
    draws_on().starve(*this);
}

void recv_source::pause() noexcept {
    if (!std::exchange(paused_, true)) was_armed_ = live() || starved_;
    if (std::exchange(starved_, false)) draws_on().forget(*this);
    net().io().cancel(*this);
}

void recv_source::go_on() noexcept {
    paused_ = false;
    if (was_armed_ || waiter_ != nullptr) arm();
}

void recv_source::give_up(remains& to) noexcept {
    // Buffers that this reactor is short of don't leave it for long.
    for (const auto* s : {&net().copies(), static_cast<supply*>(net().zero_copy())})
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

// What was cancelled may bring some more: it must not overflow.
std::uint32_t recv_source::pending_limit() const noexcept {
    return std::clamp(net().options().max_pending_bytes, 1U, 1U << 30);
}

// Bytes of the next arming: with zero copy, what fits the chunks that may still be taken without
// exceeding the grant, and a quarter of it at least. What comes beyond would be copied; it can wait
// in the socket. When chunks run low it is better copied out of them.
std::uint32_t recv_source::next_credit() const noexcept {
    const std::uint32_t most = pending_limit();
    if (!zero_copy_ || zc_->cap == 0 || draws_on().low()) return most;
    const std::uint32_t left = zc_->cap - std::min(zc_->cap, zc_->account->held());
    const std::size_t chunks = std::max({left, zc_->cap / 4, 1U});
    const std::size_t fill = std::max(zc_->fill, net().options().zcrx.chunk_bytes / 4);
    return static_cast<std::uint32_t>(std::min<std::size_t>(most, chunks * fill));
}

void recv_source::gone() noexcept {
    end(brief_error::of_errno(ECANCELED));
    wake_waiter();
}

void recv_source::rearm_starved() noexcept {
    starved_ = false;
    unreadable_ = false;
    ++net().stats().rearmed;
    arm();
}

bool recv_source::receive_to_heap() noexcept {
    if (pending_ == 0) {
        try {
            heap_ =
                rx_buffer::of_heap(std::min(net().options().heap_receive_size, pending_limit()));
        } catch (const std::bad_alloc&) {
            return false;
        }
    }
    starved_ = false;
    if (heap_.empty()) return true;  // armed when what waits here has been taken
    ++net().stats().heap_receives;
    net().io().submit(*this);
    return true;
}

// Unless something stands against it. While something waits to be taken it isn't armed again: with
// less than the whole credit the kernel would visit the socket more often, and each visit wakes the
// sender.
void recv_source::arm() noexcept {
    if (live() || ended_ || closed_ || starved_ || elsewhere_ || paused_ ||
        net().home().abandoned())
        return;
    if (pending_ != 0) return;
    if (std::exchange(climbing_, false)) {
        zero_copy_ = true;
        ++net().stats().zero_copy_climbed;
    }
    if (zero_copy_ && zc_->cap == 0) ask_for_room();
    credit_ = next_credit();
    net().io().submit(*this);
}

void recv_source::ask_for_room() noexcept {
    zc_supply& from = *net().zero_copy();
    if (zc_->reserved == 0) zc_->reserved = from.reserve(owner().descriptor());
    zc_->cap = from.grant();
    zc_->fill = net().options().zcrx.chunk_bytes;
}

void recv_source::end(brief_error why) noexcept {
    if (ended_) return;
    ended_ = true;
    why_ended_ = why;
}

void recv_source::wake_waiter() noexcept {
    if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->wake();
}

inline void recv_source::taken(std::size_t bytes) noexcept {
    pending_ -= static_cast<std::uint32_t>(bytes);
    if (pending_ == 0) arm();
}

boost::system::error_code recv_source::why_nothing() noexcept {
    return std::exchange(elsewhere_, false) ? errno_error(EFAULT) : why_ended_.code();
}

result<rx_buffer> recv_source::take() {
    if (slices_.empty()) return why_nothing();
    result<rx_buffer> first = slices_.pop();
    taken(first->size());
    return first;
}

result<std::size_t> recv_source::take_into(std::span<std::byte> to) {
    if (slices_.empty()) return why_nothing();
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
        net().stats().copied_out += moved;
        return moved;
    } catch (const std::bad_alloc&) {
        return 0;  // what could not be copied stays where it is
    }
}

void recv_source::close_descriptor() noexcept {
    become(prepare_close, complete_close);
    net().io().submit(*this);
}

void recv_source::prepare_close(operation& op, io_uring_sqe& sqe) noexcept {
    const auto& self = static_cast<recv_source&>(op);
    if (self.net().fixed())
        io_uring_prep_close_direct(&sqe, static_cast<unsigned>(self.owner().descriptor()));
    else
        io_uring_prep_close(&sqe, self.owner().descriptor());
}

void recv_source::complete_close(operation& op, std::int32_t result, std::uint32_t) noexcept {
    const auto& self = static_cast<recv_source&>(op);
    // Cancelled before it began: nothing has been done. Not simply once more: a reactor that is
    // abandoned cancels everything all the time.
    if (result == -ECANCELED || result == -EINTR)
        self.owner().go_on_ending();
    else
        self.owner().closed();
}

void recv_source::close() noexcept {
    closed_ = true;
    if (!ended_) end(brief_error::of_errno(ECANCELED));
    slices_.clear();
    pending_ = 0;
    if (starved_) {
        starved_ = false;
        draws_on().forget(*this);
    }
    wake_waiter();
    net().io().cancel(*this);
}

}  // namespace sluice::detail
