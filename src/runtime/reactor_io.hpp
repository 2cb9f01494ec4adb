// SPDX-License-Identifier: Apache-2.0
//! Between the operations of a reactor and its ring: submission, parking, dispatch of CQEs.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "runtime/operation.hpp"
#include "runtime/registered_buffers.hpp"
#include "runtime/ring.hpp"
#include "sluice/features.hpp"
#include "sluice/stats.hpp"

namespace sluice::detail {

//! Work that is put off to the end of the turn, when everything of the turn is known: joining
//! sends, giving buffers back. Linked at most once.
class turn_end_hook {
public:
    virtual void at_turn_end() noexcept = 0;

protected:
    ~turn_end_hook() = default;

private:
    friend class reactor_io;
    turn_end_hook* next_ = nullptr;
    bool queued_ = false;
};

//! The bell of a reactor: other threads ring it when they have left something, and wake the reactor
//! only if it sleeps. The bell is rung before the look at the sleeper, who looks at the bell after
//! it has said that it sleeps: one of the two sees the other.
class doorbell {
public:
    //! By other threads. True: it sleeps, and nobody else is about to wake it.
    bool ring() noexcept {
        return !rung_.exchange(true, std::memory_order_seq_cst) &&
               asleep_.load(std::memory_order_seq_cst) &&
               asleep_.exchange(false, std::memory_order_seq_cst);
    }

    // By its reactor.

    [[nodiscard]] bool rung() const noexcept { return rung_.load(std::memory_order_relaxed); }
    void answer_ring() noexcept { rung_.exchange(false, std::memory_order_seq_cst); }

    //! Once a turn, when nothing more will happen in it.
    void before_enter() noexcept {
        if (std::exchange(to_publish_, false)) publish();
    }
    //! The reactor is about to sleep. False: something has come.
    bool may_sleep() noexcept {
        asleep_.store(true, std::memory_order_seq_cst);
        if (!rung_.load(std::memory_order_seq_cst)) return true;
        awake();
        return false;
    }
    void awake() noexcept { asleep_.store(false, std::memory_order_relaxed); }

protected:
    ~doorbell() = default;

    //! Asks for publish() at the end of this turn.
    void publishes() noexcept { to_publish_ = true; }
    //! What the turn has for other threads becomes visible to them.
    virtual void publish() noexcept = 0;

private:
    bool to_publish_ = false;
    alignas(64) std::atomic<bool> rung_{false};
    std::atomic<bool> asleep_{false};
};

class reactor_io {
public:
    reactor_io(kernel& k, reactor_stats& stats) noexcept;
    ~reactor_io();
    reactor_io(const reactor_io&) = delete;
    reactor_io& operator=(const reactor_io&) = delete;

    result<void> open(const reactor_options& options);

    //! Gives the operation to the kernel with the next enter. Never fails: without room in the
    //! submission queue, and none after a flush, it waits its turn.
    void submit(operation& op) noexcept;

    //! Asks for the end of an operation; the answer is its terminal CQE. Harmless when it is not
    //! live or being cancelled already.
    void cancel(operation& op) noexcept;

    //! Asks for the end of everything that is live.
    void cancel_everything() noexcept;

    //! Calls `hook` once, before the enter of this turn.
    void at_turn_end(turn_end_hook& hook) noexcept {
        if (hook.queued_) return;
        hook.queued_ = true;
        hook.next_ = nullptr;
        (hooks_tail_ != nullptr ? hooks_tail_->next_ : hooks_head_) = &hook;
        hooks_tail_ = &hook;
    }
    //! Takes it back.
    void forget(turn_end_hook& hook) noexcept;

    //! Ends a turn: hooks, parked submissions, one enter at most, dispatch. With `wait` it sleeps
    //! until a CQE comes or until `deadline` (nanoseconds; timer_set::never: no limit). In
    //! src/runtime/end_turn.hpp, as all of it that is usual.
    inline void end_turn(bool wait, std::int64_t deadline) noexcept;

    //! Something is to be done that end_turn() does: nothing of it may wait for long.
    [[nodiscard]] bool wants_turn_to_end() const noexcept {
        return hooks_head_ != nullptr || parked_head_ != nullptr || ring_.unsubmitted() != 0 ||
               ring_.has_cqes() || ring_.kernel_has_work();
    }

    //! Operations that are live, but for the reactor's own.
    [[nodiscard]] std::uint64_t live() const noexcept { return live_ - (wake_.live() ? 1 : 0); }

    //! From any thread: ends the current or the next wait.
    void wake() noexcept { kernel_.wake(wake_descriptor_); }

    //! Ends the sleep of another reactor, whose ring and wake descriptor these are: by a message
    //! from ring to ring that goes out with the next enter, or by its wake descriptor at once.
    void wake_other(int ring_descriptor, int wake_descriptor) noexcept;
    [[nodiscard]] int wake_descriptor() const noexcept { return wake_descriptor_; }

    void set_doorbell(doorbell* b) noexcept { bell_ = b; }
    [[nodiscard]] reactor_stats& stats() noexcept { return stats_; }

    [[nodiscard]] kernel& below() const noexcept { return kernel_; }
    [[nodiscard]] ring& rings() noexcept { return ring_; }
    [[nodiscard]] registered_buffers& fixed_buffers() noexcept { return fixed_buffers_; }
    [[nodiscard]] features& found() noexcept { return found_; }
    [[nodiscard]] const features& found() const noexcept { return found_; }

private:
    class wake_operation final : public operation {
    public:
        explicit wake_operation(reactor_io& io) noexcept;

    private:
        reactor_io& io_;
        std::uint64_t value_ = 0;
    };

    //! Fills the SQE with what is asked of the kernel.
    void request(operation& op, io_uring_sqe& sqe) noexcept;
    //! Each says what is wanted of the operation.
    bool fill(operation& op, operation::parked what) noexcept;
    void offer(operation& op, operation::parked what) noexcept;
    void park(operation& op, operation::parked what) noexcept;
    void unpark(operation& op) noexcept;
    void submit_parked() noexcept;
    inline void run_hooks() noexcept;
    inline void enter(unsigned wait, std::int64_t deadline) noexcept;
    [[gnu::cold]] void check_entered(int error_number) noexcept;
    inline void dispatch() noexcept;
    void answer_marked(std::uint64_t user_data, std::int32_t result) noexcept;
    inline void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    void drain(std::int64_t limit_ns) noexcept;

    kernel& kernel_;
    reactor_stats& stats_;
    ring ring_;
    registered_buffers fixed_buffers_{ring_};
    features found_;
    std::uint32_t min_wait_us_ = 0;
    std::uint32_t min_wait_completions_ = 1;
    operation* parked_head_ = nullptr;
    operation* parked_tail_ = nullptr;
    turn_end_hook* hooks_head_ = nullptr;
    turn_end_hook* hooks_tail_ = nullptr;
    std::uint64_t live_ = 0;
    bool closing_ = false;
    bool wakes_by_ring_ = false;
    doorbell* bell_ = nullptr;
    int wake_descriptor_ = -1;
    wake_operation wake_;

    // The user_data of CQEs that nobody looks at. Those of operations are addresses, so that small
    // and odd numbers are free; see also ring_notice.
    static constexpr std::uint64_t ignored = 0;
};

}  // namespace sluice::detail
