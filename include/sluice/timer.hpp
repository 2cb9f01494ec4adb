// SPDX-License-Identifier: Apache-2.0
//! Timers of one reactor: insert and cancel in constant time, exact deadlines.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace sluice::detail {

struct timer_link {
    timer_link* prev = this;
    timer_link* next = this;
};

//! A deadline in nanoseconds of the reactor's clock, linked into the object that waits for it.
class timer_node : timer_link {
public:
    timer_node() = default;
    timer_node(const timer_node&) = delete;
    timer_node& operator=(const timer_node&) = delete;

    //! The deadline passed; the timer is no longer armed. It must not resume a coroutine.
    virtual void on_timer() noexcept = 0;

    [[nodiscard]] bool armed() const noexcept { return next != this; }
    //! The last one it was armed with, or what else it was set to.
    [[nodiscard]] std::int64_t deadline() const noexcept { return deadline_; }

protected:
    explicit timer_node(std::int64_t time) noexcept : deadline_(time) {}
    void set_deadline(std::int64_t time) noexcept { deadline_ = time; }  // while not armed
    ~timer_node() = default;

private:
    friend class timer_set;
    std::int64_t deadline_ = 0;
};

//! Timers sorted by the highest bit in which their deadline differs from the time of the last
//! expiry. Time moving past that bit sorts a bucket once more: a timer moves at most 63 times
//! however long it waits, and one that is cancelled before never moves.
class timer_set {
public:
    static constexpr std::int64_t never = INT64_MAX;

    //! Arms `t`, which must not be armed. A deadline that has passed expires at the next expire().
    void insert(timer_node& t, std::int64_t deadline) noexcept {
        t.deadline_ = deadline;
        append(bucket_[bucket_of(deadline)], t);
        next_ = std::min(next_, deadline);
        ++size_;
    }

    //! Disarms `t`; harmless when it is not armed.
    void cancel(timer_node& t) noexcept {
        if (!t.armed()) return;
        unlink(t);
        if (--size_ == 0) next_ = never;
    }

    //! Calls on_timer() of every timer due at `now`. Returns how many.
    std::size_t expire(std::int64_t now) noexcept { return now < next_ ? 0 : expire_due(now); }

    //! When expire() has to be called next: never later than the first deadline, `never` if there
    //! is none.
    [[nodiscard]] std::int64_t next_deadline() const noexcept { return next_; }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    static constexpr std::size_t buckets = 64;

    static void unlink(timer_link& l) noexcept {
        l.prev->next = l.next;
        l.next->prev = l.prev;
        l.prev = l.next = &l;
    }
    static void append(timer_link& list, timer_link& l) noexcept {
        l.prev = list.prev;
        l.next = &list;
        list.prev->next = &l;
        list.prev = &l;
    }
    static timer_node& node_of(timer_link& l) noexcept { return static_cast<timer_node&>(l); }
    [[nodiscard]] std::size_t bucket_of(std::int64_t deadline) const noexcept {
        if (deadline <= last_) return 0;
        return static_cast<std::size_t>(
            std::bit_width(static_cast<std::uint64_t>(deadline ^ last_)));
    }
    std::size_t expire_due(std::int64_t now) noexcept;
    [[nodiscard]] std::int64_t first_deadline() const noexcept;

    std::array<timer_link, buckets> bucket_;
    std::int64_t last_ = 0;
    std::int64_t next_ = never;
    std::size_t size_ = 0;
};

}  // namespace sluice::detail
