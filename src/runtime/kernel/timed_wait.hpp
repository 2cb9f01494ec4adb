// SPDX-License-Identifier: Apache-2.0
//! Waiting of ordinary threads that must not last for ever: it reads a clock, so it stands here.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace sluice::detail {

//! Counts arrivals. From any thread.
class timed_countdown {
public:
    explicit timed_countdown(std::size_t expected) noexcept : left_(expected) {}

    void arrive() noexcept;

    //! Until all have arrived, but no longer than `limit`; gives whether they have.
    bool wait(std::chrono::nanoseconds limit);

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t left_;
};

}  // namespace sluice::detail
