// SPDX-License-Identifier: Apache-2.0
//! One io_uring: set-up, the mapped queues, enter. Knows SQEs and CQEs, but nobody who uses them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/kernel/kernel.hpp"
#include "runtime/uring.hpp"
#include "sluice/features.hpp"
#include "sluice/options.hpp"
#include "sluice/result.hpp"

namespace sluice::detail {

class ring {
public:
    explicit ring(kernel& k) noexcept : kernel_(k) {}
    ~ring();
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;

    //! Sets the ring up with the best of an ordered list of flag sets that the kernel takes, and
    //! says in `found` what came of it.
    result<void> open(const reactor_options& options, features& found);

    //! The next free SQE, zeroed; null when the queue is full.
    io_uring_sqe* next_sqe() noexcept {
        if (full()) return nullptr;
        io_uring_sqe* sqe = &sqes_[sq_local_tail_++ & sq_mask_];
        *sqe = {};
        return sqe;
    }

    [[nodiscard]] bool full() const noexcept {
        return sq_local_tail_ - load_acquire(sq_head_) == sq_entries_;
    }

    //! SQEs filled and not handed to the kernel yet.
    [[nodiscard]] unsigned unsubmitted() const noexcept {
        return sq_local_tail_ - load_acquire(sq_head_);
    }

    //! Whether the kernel has work for us that only an enter will bring.
    [[nodiscard]] bool kernel_has_work() const noexcept {
        return (load_relaxed(sq_flags_) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    }
    [[nodiscard]] bool overflowed() const noexcept {
        return (load_relaxed(sq_flags_) & IORING_SQ_CQ_OVERFLOW) != 0;
    }
    [[nodiscard]] bool has_cqes() const noexcept {
        return load_acquire(cq_tail_) != cq_local_head_;
    }

    //! Submits everything, if it `submits`, and lets the kernel post what is done; with `wait`,
    //! until at least that many CQEs are there or until `deadline` (of the kernel's clock;
    //! INT64_MAX: no limit).
    //! Returns what io_uring_enter returns, or the negative errno; ETIME and EINTR are not errors.
    int enter(unsigned wait, std::int64_t deadline, std::uint32_t min_wait_us,
              bool submits = true) noexcept {
        __atomic_store_n(sq_tail_, sq_local_tail_, __ATOMIC_RELEASE);
        const unsigned submit = submits ? unsubmitted() : 0;
        const unsigned flags = IORING_ENTER_GETEVENTS | enter_flags_;
        if (wait == 0) return kernel_.uring_enter(enter_fd_, submit, 0, flags, nullptr, 0);
        const unsigned timed = limit_wait(deadline, min_wait_us);
        return kernel_.uring_enter(enter_fd_, submit, wait, flags | IORING_ENTER_EXT_ARG | timed,
                                   &wait_argument_, sizeof wait_argument_);
    }

    //! Hands every CQE that is there to `take(user_data, result, flags)`; returns how many. While
    //! it runs, big_half() is the second half of the CQE that is being taken.
    template <class Take>
    unsigned reap(Take&& take) noexcept {
        const std::uint32_t tail = load_acquire(cq_tail_);
        std::uint32_t head = cq_local_head_;
        unsigned taken = 0;
        while (head != tail) {
            const io_uring_cqe* cqe = &cqes_[(head & cq_mask_) << cqe_shift_];
            const std::uint32_t flags = cqe->flags;
            head += (flags & cqe_big) != 0 ? 2 : 1;
            if ((flags & cqe_skip) != 0) continue;
            taken_ = cqe;
            take(cqe->user_data, cqe->res, flags);
            ++taken;
        }
        cq_local_head_ = head;
        __atomic_store_n(cq_head_, head, __ATOMIC_RELEASE);
        return taken;
    }

    //! Whether this ring has CQEs of 32 bytes, all of them or those that need it.
    [[nodiscard]] bool has_big_cqes() const noexcept { return big_cqes_; }

    //! Of a CQE that says more in 32 bytes, and only while it is being taken: the first of the two
    //! words that follow.
    [[nodiscard]] std::uint64_t big_half() const noexcept {
        return *reinterpret_cast<const std::uint64_t*>(taken_ + 1);
    }

    //! io_uring_register on this ring. The result, or the negative errno.
    int register_call(unsigned opcode, void* argument, unsigned count) noexcept;

    //! Whether a wait can be told how long to gather completions (kernel 6.12).
    [[nodiscard]] bool min_wait_possible() const noexcept { return min_wait_possible_; }
    [[nodiscard]] int descriptor() const noexcept { return fd_; }
    [[nodiscard]] kernel& below() const noexcept { return kernel_; }
    [[nodiscard]] unsigned cq_entries() const noexcept { return cq_entries_; }

private:
    static constexpr std::uint32_t cqe_big = IORING_CQE_F_32;
    static constexpr std::uint32_t cqe_skip = IORING_CQE_F_SKIP;
    static std::uint32_t load_acquire(const std::uint32_t* p) noexcept {
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
    }
    static std::uint32_t load_relaxed(const std::uint32_t* p) noexcept {
        return __atomic_load_n(p, __ATOMIC_RELAXED);
    }
    result<void> map(const io_uring_params& params);
    void register_ring_descriptor(features& found);
    void find_absolute_waits(features& found) noexcept;

    //! Fills wait_argument_; returns the flags that go with it.
    unsigned limit_wait(std::int64_t deadline, std::uint32_t min_wait_us) noexcept {
        if (min_wait_possible_) wait_argument_.min_wait_usec = min_wait_us;
        if (deadline == INT64_MAX) {
            wait_argument_.ts = 0;
            return 0;
        }
        set_limit(absolute_wait_ != 0 ? deadline : time_until(deadline));
        return absolute_wait_;
    }
    void set_limit(std::int64_t time) noexcept {
        // Unsigned: a division by a constant that is a multiplication and nothing else.
        const auto ns = static_cast<std::uint64_t>(time);
        limit_.tv_sec = static_cast<std::int64_t>(ns / 1'000'000'000);
        limit_.tv_nsec = static_cast<std::int64_t>(ns % 1'000'000'000);
        wait_argument_.ts = reinterpret_cast<std::uint64_t>(&limit_);
    }
    [[nodiscard]] std::int64_t time_until(std::int64_t deadline) const noexcept;
    void set_up_busy_poll(const reactor_options& options, features& found);

    kernel& kernel_;
    int fd_ = -1;        // the descriptor
    int enter_fd_ = -1;  // the descriptor, or its index when it is registered
    unsigned enter_flags_ = 0;
    bool min_wait_possible_ = false;
    unsigned absolute_wait_ = 0;  // the flag, if the kernel takes points in time: no clock is read
    io_uring_getevents_arg wait_argument_{};
    __kernel_timespec limit_{};

    std::uint32_t sq_local_tail_ = 0;
    std::uint32_t cq_local_head_ = 0;
    std::uint32_t sq_mask_ = 0;
    std::uint32_t cq_mask_ = 0;
    std::uint32_t sq_entries_ = 0;
    std::uint32_t cq_entries_ = 0;
    std::uint32_t* sq_head_ = nullptr;
    std::uint32_t* sq_tail_ = nullptr;
    std::uint32_t* sq_flags_ = nullptr;
    std::uint32_t* cq_head_ = nullptr;
    std::uint32_t* cq_tail_ = nullptr;
    io_uring_sqe* sqes_ = nullptr;
    io_uring_cqe* cqes_ = nullptr;
    const io_uring_cqe* taken_ = nullptr;
    unsigned cqe_shift_ = 0;  // 1 when all CQEs have 32 bytes
    bool big_cqes_ = false;

    void* rings_ = nullptr;
    std::size_t rings_bytes_ = 0;
    std::size_t sqes_bytes_ = 0;
};

}  // namespace sluice::detail
