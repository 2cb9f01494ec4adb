// SPDX-License-Identifier: Apache-2.0
#include "runtime/reactor_io.hpp"

#include <algorithm>
#include <cerrno>

#include "runtime/end_turn.hpp"
#include "runtime/fatal.hpp"
#include "runtime/probe.hpp"
#include "runtime/probes.hpp"
#include "sluice/log.hpp"
#include "sluice/timer.hpp"

namespace sluice::detail {

namespace {
// Of odd user_data, beside ring_notice: sent by another ring.
constexpr std::uint64_t woken = 1;
// A message to another ring that failed; the target's wake descriptor is in the upper half.
constexpr std::uint64_t wake_failed = 3;
constexpr unsigned descriptor_shift = 32;
// How long a reactor that goes away waits for the last CQEs.
constexpr std::int64_t drain_limit_ns = 5'000'000'000;
constexpr std::int64_t drain_step_ns = 10'000'000;
}  // namespace

void operation::destroyed_while_live() noexcept {
    fatal("an operation was destroyed before its terminal CQE");
}

reactor_io::wake_operation::wake_operation(reactor_io& io) noexcept
    : operation(
          [](operation& op, io_uring_sqe& sqe) noexcept {
              auto& self = static_cast<wake_operation&>(op);
              io_uring_prep_read(&sqe, self.io_.wake_descriptor_, &self.value_, sizeof self.value_,
                                 0);
          },
          [](operation& op, std::int32_t, std::uint32_t) noexcept {
              auto& self = static_cast<wake_operation&>(op);
              ++self.io_.stats_.wake_ups;
              if (!self.io_.closing_) self.io_.submit(self);
          }),
      io_(io) {}

reactor_io::reactor_io(kernel& k, reactor_stats& stats) noexcept
    : kernel_(k), stats_(stats), ring_(k), wake_(*this) {}

reactor_io::~reactor_io() {
    closing_ = true;
    cancel(wake_);
    drain(drain_limit_ns);
    if (live_ != 0)
        fatal("%llu operations are live at the end of their reactor",
              static_cast<unsigned long long>(live_));
    if (wake_descriptor_ >= 0) kernel_.close(wake_descriptor_);
}

result<void> reactor_io::open(const reactor_options& options) {
    if (auto opened = ring_.open(options, found_); !opened) return opened;
    // Without a limit to its time, waiting for several completions could last for ever.
    if (ring_.min_wait_possible() && options.min_wait.count() > 0) {
        min_wait_us_ = static_cast<std::uint32_t>(options.min_wait.count());
        min_wait_completions_ = std::max(options.min_wait_completions, 1U);
    }
    wake_descriptor_ = kernel_.wake_descriptor();
    if (wake_descriptor_ < 0) return errno_error(-wake_descriptor_);
    probe_operations(ring_, found_);
    fixed_buffers_.set_limit(options.registered_buffer_slots);
    wakes_by_ring_ =
        options.cross_core_wake != wake_method::event_fd && found_.has(feature_message_ring);
    submit(wake_);
    return {};
}

inline void reactor_io::request(operation& op, io_uring_sqe& sqe) noexcept {
    ++stats_.sqes;
    op.prepare_(op, sqe);
    sqe.user_data = reinterpret_cast<std::uint64_t>(&op);
    SLUICE_PROBE_SUBMIT(&op, sqe.opcode, sqe.fd);
}

void reactor_io::submit(operation& op) noexcept {
    op.live_ = true;
    op.cancelling_ = false;
    ++live_;
    io_uring_sqe* sqe = parked_head_ == nullptr ? ring_.next_sqe() : nullptr;
    if (sqe != nullptr)
        request(op, *sqe);
    else
        offer(op, operation::parked::request);
}

void reactor_io::cancel(operation& op) noexcept {
    if (!op.live_ || op.cancelling_) return;
    op.cancelling_ = true;
    // A request that is still parked is not known to the kernel: it ends when its turn comes.
    if (op.parked_ == operation::parked::nothing) offer(op, operation::parked::cancel);
}

void reactor_io::cancel_everything() noexcept {
    io_uring_sqe* sqe = ring_.next_sqe();
    if (sqe == nullptr) {
        enter(0, timer_set::never);
        sqe = ring_.next_sqe();
    }
    if (sqe == nullptr) return;  // the caller asks again
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = ignored;
}

bool reactor_io::fill(operation& op, operation::parked what) noexcept {
    const bool is_request = what == operation::parked::request;
    if (is_request && op.cancelling_) {  // while it was parked
        complete(op, -ECANCELED, 0);
        return true;
    }
    io_uring_sqe* sqe = ring_.next_sqe();
    if (sqe == nullptr) return false;
    if (is_request) {
        request(op, *sqe);
    } else {
        ++stats_.sqes;
        io_uring_prep_cancel64(sqe, reinterpret_cast<std::uint64_t>(&op), 0);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        sqe->user_data = ignored;
    }
    return true;
}

void reactor_io::offer(operation& op, operation::parked what) noexcept {
    if (parked_head_ == nullptr) {
        if (fill(op, what)) return;
        enter(0, timer_set::never);
        if (fill(op, what)) return;
    }
    park(op, what);
}

void reactor_io::park(operation& op, operation::parked what) noexcept {
    op.parked_ = what;
    op.next_parked_ = nullptr;
    (parked_tail_ != nullptr ? parked_tail_->next_parked_ : parked_head_) = &op;
    parked_tail_ = &op;
    ++stats_.sq_full_parks;
}

void reactor_io::unpark(operation& op) noexcept {
    operation* before = nullptr;
    for (operation* at = parked_head_; at != &op; at = at->next_parked_) before = at;
    (before != nullptr ? before->next_parked_ : parked_head_) = op.next_parked_;
    if (parked_tail_ == &op) parked_tail_ = before;
    op.parked_ = operation::parked::nothing;
}

void reactor_io::submit_parked() noexcept {
    while (parked_head_ != nullptr) {
        operation& op = *parked_head_;
        const operation::parked what = op.parked_;
        const bool needs_sqe = what == operation::parked::cancel || !op.cancelling_;
        if (ring_.full() && needs_sqe) return;
        unpark(op);  // first: a completion may park more, behind it
        fill(op, what);
    }
}

void reactor_io::forget(turn_end_hook& hook) noexcept {
    if (!hook.queued_) return;
    turn_end_hook* before = nullptr;
    for (turn_end_hook* at = hooks_head_; at != &hook; at = at->next_) before = at;
    (before != nullptr ? before->next_ : hooks_head_) = hook.next_;
    if (hooks_tail_ == &hook) hooks_tail_ = before;
    hook.queued_ = false;
}

void reactor_io::check_entered(int error_number) noexcept {
    switch (error_number) {
        case ETIME:   // the deadline
        case EINTR:   // a signal
        case EAGAIN:  // no memory for a request, or
        case EBUSY:   // completions have to be reaped first: the next turn submits again
        case EBADR:   // the kernel lost CQEs for want of memory; their number is not known
            return;
        default: fatal("io_uring_enter failed with errno %d", error_number);
    }
}

void reactor_io::wake_other(int ring_descriptor, int wake_descriptor) noexcept {
    io_uring_sqe* sqe = wakes_by_ring_ ? ring_.next_sqe() : nullptr;
    if (sqe == nullptr) {  // or no room: this needs none
        kernel_.wake(wake_descriptor);
        return;
    }
    ++stats_.sqes;
    io_uring_prep_msg_ring(sqe, ring_descriptor, 0, woken, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = wake_failed | static_cast<std::uint64_t>(wake_descriptor) << descriptor_shift;
}

void reactor_io::answer_marked(std::uint64_t user_data, std::int32_t result) noexcept {
    if ((user_data & ring_notice::mark_bits) == ring_notice::mark)
        ring_notice::of(user_data).on_notice(result);
    else if (user_data == woken)
        ++stats_.wake_ups;
    else
        kernel_.wake(static_cast<int>(user_data >> descriptor_shift));
}

void reactor_io::drain(std::int64_t limit_ns) noexcept {
    const std::int64_t give_up = kernel_.now() + limit_ns;
    while (live_ != 0 && kernel_.now() < give_up) end_turn(true, kernel_.now() + drain_step_ns);
}

}  // namespace sluice::detail
