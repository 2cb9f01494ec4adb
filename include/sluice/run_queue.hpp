// SPDX-License-Identifier: Apache-2.0
//! Which coroutine runs next. The only place that resumes a suspended coroutine.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>

#include "sluice/ready.hpp"

namespace sluice::detail {

//! The ready list of a reactor with the rules of fairness: a turn runs what was ready when it
//! began, and a coroutine may take `await_budget` results that were there at once before it has
//! to pass through the list.
class run_queue {
public:
    explicit run_queue(std::uint32_t await_budget) noexcept : full_budget_(await_budget) {}

    void make_ready(ready_node& n) noexcept { ready_.push(n); }
    void remove(ready_node& n) noexcept { ready_.remove(n); }
    [[nodiscard]] bool empty() const noexcept { return ready_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return ready_.size(); }

    //! Spends one unit of the running coroutine's budget. False: go through the ready list.
    bool spend() noexcept {
        if (budget_ == 0) return false;
        --budget_;
        return true;
    }

    //! Runs `h` as soon as the coroutine that runs now returns to the queue. Called at the end of a
    //! task for the one that awaits it; there is at most one, since one chain ends at a time.
    void continue_with(std::coroutine_handle<> h) noexcept { next_ = h; }

    //! Nothing is resumed any more, from now on.
    void halt() noexcept { halted_ = true; }

    //! Runs at most `limit` of the coroutines that are ready now; returns how many. In
    //! src/runtime/run_turn.hpp.
    inline std::size_t run_turn(std::size_t limit);

    //! The coroutine that was resumed last in the turn that goes on; null between turns. It may be
    //! in the midst of starting a child.
    [[nodiscard]] std::coroutine_handle<> running() const noexcept { return running_; }

private:
    inline void resume(std::coroutine_handle<> h);

    ready_list ready_;
    std::coroutine_handle<> next_;
    std::coroutine_handle<> running_;
    std::uint32_t budget_ = 0;
    std::uint32_t full_budget_;
    bool halted_ = false;
};

}  // namespace sluice::detail
