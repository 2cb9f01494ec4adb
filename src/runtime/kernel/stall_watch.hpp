// SPDX-License-Identifier: Apache-2.0
//! Catches threads whose turns take too long in the act.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace sluice::detail {

//! A thread that works in turns. While at least one is watched, one more thread of the process
//! looks at all of them several times in the length of the shortest limit, and interrupts one that
//! is late with SIGURG, in whose handler it looks at itself. So watching costs the watched thread
//! two stores a turn and no system call, while a timer of its own would cost two calls of
//! timer_settime(2), or would interrupt its waits if it ran all the time. SIGURG, because it is
//! ignored by default and expected to come for no reason.
class watched_thread {
public:
    watched_thread(const watched_thread&) = delete;
    watched_thread& operator=(const watched_thread&) = delete;

    //! `now`: CLOCK_MONOTONIC in nanoseconds.
    void turn_begins(std::int64_t now) noexcept { begun_.store(now, std::memory_order_relaxed); }
    void turn_ends() noexcept { begun_.store(0, std::memory_order_relaxed); }

protected:
    explicit watched_thread(std::chrono::nanoseconds limit) noexcept : limit_(limit) {}
    ~watched_thread() = default;

    //! Both on the watched thread. stop_watching() returns when the watcher is not in report().
    void watch();
    void stop_watching() noexcept;

    //! On the watched thread, in a signal handler, during the turn that is late.
    virtual void look() noexcept = 0;

    //! On the watcher's thread, after look(): the turn has lasted for `lasted` so far. An empty
    //! stack: the thread did not answer, it blocks the signal or sits in the kernel.
    virtual void report(std::chrono::nanoseconds lasted, std::span<void* const> stack) noexcept = 0;

private:
    friend class stall_watcher;
    static constexpr std::size_t deepest = 64;
    enum class answer : int { none, asked, given };

    void check(std::int64_t now) noexcept;
    static void on_signal() noexcept;

    std::chrono::nanoseconds limit_;
    std::atomic<std::int64_t> begun_{0};  // 0: between turns
    std::int64_t reported_ = 0;           // the turn that was reported last
    std::atomic<std::int64_t> asked_{0};  // the turn that the signal is meant for
    std::atomic<answer> answer_{answer::none};
    std::array<void*, deepest> stack_{};
    std::size_t depth_ = 0;
    unsigned long thread_ = 0;
};

//! One line for each address: function, and place in the binary for addr2line(1).
std::string describe_stack(std::span<void* const> stack);

}  // namespace sluice::detail
