// SPDX-License-Identifier: Apache-2.0
#include "loopback/watchdog.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

namespace sluice::testing {

namespace {

// SLUICE_TEST_PATIENCE=N: an emulated machine is slower, by so much.
unsigned patience() {
    const char* asked = std::getenv("SLUICE_TEST_PATIENCE");
    const unsigned long factor = asked != nullptr ? std::strtoul(asked, nullptr, 10) : 1;
    return factor != 0 ? static_cast<unsigned>(factor) : 1;
}

}  // namespace

watchdog::watchdog(std::chrono::seconds limit) {
    const auto* test = doctest::getContextOptions()->currentTest;
    test_ = test != nullptr ? test->m_name : "a test without a name";
    thread_ = std::thread([this, limit] { watch(limit * patience()); });
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
