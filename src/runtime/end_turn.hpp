// SPDX-License-Identifier: Apache-2.0
//! The end of a turn. For the loop, which inlines it.
#pragma once

#include "runtime/probes.hpp"
#include "runtime/reactor_io.hpp"

namespace sluice::detail {

// A hook that is queued by a hook runs in the next turn.
[[gnu::always_inline]] inline void reactor_io::run_hooks() noexcept {
    const turn_end_hook* last = hooks_tail_;
    for (bool more = last != nullptr; more && hooks_head_ != nullptr;) {
        turn_end_hook& hook = *hooks_head_;
        more = &hook != last;
        hooks_head_ = hook.next_;
        if (hooks_head_ == nullptr) hooks_tail_ = nullptr;
        hook.queued_ = false;
        hook.at_turn_end();
    }
}

[[gnu::always_inline]] inline void reactor_io::enter(unsigned wait,
                                                     std::int64_t deadline) noexcept {
    ++stats_.enters;
    // While the kernel keeps CQEs back, those come first: zero-copy receives would find no room
    // behind them, end for want of it, and be kept back in turn, for ever.
    const bool submits = !ring_.overflowed();
    if (!submits && ring_.unsubmitted() != 0) wait = 0;  // it must not sleep on what is kept back
    const int entered = ring_.enter(wait, deadline, min_wait_us_, submits);
    if (entered < 0) check_entered(-entered);
}

[[gnu::always_inline]] inline void reactor_io::complete(operation& op, std::int32_t result,
                                                        std::uint32_t flags) noexcept {
    SLUICE_PROBE_COMPLETE(&op, result, flags);
    if ((flags & IORING_CQE_F_MORE) == 0) {
        op.live_ = false;
        --live_;
        if (op.parked_ == operation::parked::cancel) unpark(op);
    }
    op.complete_(op, result, flags);
}

[[gnu::always_inline]] inline void reactor_io::dispatch() noexcept {
    stats_.cqes += ring_.reap(
        [this](std::uint64_t user_data, std::int32_t result, std::uint32_t flags) noexcept {
            if ((user_data & 1) != 0)
                answer_marked(user_data, result);
            else if (user_data != ignored)
                complete(*reinterpret_cast<operation*>(user_data), result, flags);
        });
}

[[gnu::always_inline]] inline void reactor_io::end_turn(bool wait, std::int64_t deadline) noexcept {
    if (hooks_head_ != nullptr) run_hooks();
    if (bell_ != nullptr) bell_->before_enter();
    if (parked_head_ != nullptr) submit_parked();
    if (ring_.overflowed()) ++stats_.cq_overflows;
    const bool must_submit = ring_.unsubmitted() != 0;
    bool sleeps = wait && hooks_head_ == nullptr && parked_head_ == nullptr && !ring_.has_cqes();
    if (sleeps && bell_ != nullptr) sleeps = bell_->may_sleep();
    if (must_submit || sleeps || ring_.kernel_has_work())
        enter(sleeps ? min_wait_completions_ : 0, deadline);
    if (sleeps && bell_ != nullptr) bell_->awake();
    dispatch();
}

}  // namespace sluice::detail
