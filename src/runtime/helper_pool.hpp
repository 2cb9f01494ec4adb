// SPDX-License-Identifier: Apache-2.0
//! The threads that blocking() calls run on.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "sluice/blocking.hpp"

namespace sluice::detail {

//! A bounded number of threads, started when they are needed, and one FIFO of jobs for all. Shared
//! by the reactors of a service.
class helper_pool {
public:
    explicit helper_pool(unsigned threads) noexcept;
    //! No job may be left. Joins the threads.
    ~helper_pool();
    helper_pool(const helper_pool&) = delete;
    helper_pool& operator=(const helper_pool&) = delete;

    //! Error: that of starting the first thread.
    result<void> push(blocking_job& job);
    //! Takes a job back that has not begun. False: it has.
    bool remove(blocking_job& job) noexcept;

    //! A reactor that has no jobs here any more goes: returns when no helper is still at delivering
    //! one to it.
    void leave() noexcept { const std::lock_guard lock(mutex_); }

    [[nodiscard]] std::size_t threads() noexcept;

private:
    void run() noexcept;

    std::mutex mutex_;
    std::condition_variable changed_;
    blocking_job* head_ = nullptr;
    blocking_job* tail_ = nullptr;
    std::size_t limit_;
    std::size_t idle_ = 0;
    std::size_t waiting_ = 0;
    bool ending_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace sluice::detail
