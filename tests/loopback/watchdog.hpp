// SPDX-License-Identifier: Apache-2.0
//! Ends a test program that hangs, by the name of the test.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace sluice::testing {

//! Aborts the process with a message when it lives longer than `limit`, times what
//! SLUICE_TEST_PATIENCE in the environment says.
class watchdog {
public:
    explicit watchdog(std::chrono::seconds limit = std::chrono::seconds(60));
    ~watchdog();
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

private:
    void watch(std::chrono::seconds limit);

    std::string test_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false;
    std::thread thread_;
};

}  // namespace sluice::testing
