// SPDX-License-Identifier: Apache-2.0
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>

#include "support/sanitizers.hpp"

#if defined(SLUICE_TESTS_TSAN)
extern "C" const char* __tsan_default_suppressions();
// libstdc++.so is not instrumented: the atomic count by which threads share an exception is not
// seen, so the last owner's delete reads like a race with what the others read before.
extern "C" const char* __tsan_default_suppressions() {
    return "race:std::__exception_ptr::exception_ptr::_M_release\n"
           "race:std::runtime_error::~runtime_error\n";
}
#endif

int main(int argc, char** argv) {
    // Tests provoke failures on purpose: what the library logs about them would read like a fault.
    ::setenv("SLUICE_LOG_LEVEL", "off", 0);
    doctest::Context context(argc, argv);
    return context.run();
}
