// SPDX-License-Identifier: Apache-2.0
//! Waits until a number of things have happened.
#pragma once

#include <cstddef>
#include <stdexcept>

#include "sluice/event.hpp"

namespace sluice {

//! Counts down to zero, once. For one reactor; not movable. Destroying it while coroutines wait in
//! it ends the program; those that the last count_down() has woken no longer need it.
class latch {
public:
    explicit latch(std::size_t expected) noexcept : left_(expected), done_(expected == 0) {}

    //! Throws std::logic_error when `n` is more than what is left.
    void count_down(std::size_t n = 1) {
        if (n > left_) throw std::logic_error("sluice: a latch was counted below zero");
        left_ -= n;
        if (left_ == 0) done_.set();
    }

    [[nodiscard]] bool try_wait() const noexcept { return left_ == 0; }
    [[nodiscard]] std::size_t left() const noexcept { return left_; }

    //! Ends when the count is zero. Gives result<void>; cancelled: ECANCELED, and nothing is left
    //! behind. Does not allocate.
    event::wait_awaiter wait() noexcept { return done_.wait(); }

    //! count_down(), now, and wait(): a cancelled wait has counted all the same.
    event::wait_awaiter arrive_and_wait() {
        count_down();
        return wait();
    }

private:
    std::size_t left_;
    event done_;
};

}  // namespace sluice
