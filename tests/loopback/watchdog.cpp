// SPDX-License-Identifier: Apache-2.0
#include "loopback/watchdog.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

namespace sluice::testing {

watchdog::watchdog(std::chrono::seconds limit) {
    const auto* test = doctest::getContextOptions()->currentTest;
    test_ = test != nullptr ? test->m_name : "a test without a name";
    thread_ = std::thread([this, limit] { watch(limit); });
}

watchdog::~watchdog() {
    {
        const std::lock_guard lock(mutex_);
        done_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void watchdog::watch(std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, limit, [this] { return done_; })) return;
    std::fprintf(stderr, "HANGS: %s: no end after %lld s\n", test_.c_str(),
                 static_cast<long long>(limit.count()));
    std::fflush(stderr);
    std::abort();
}

}  // namespace sluice::testing
