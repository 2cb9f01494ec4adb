// SPDX-License-Identifier: Apache-2.0
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>

int main(int argc, char** argv) {
    // Tests provoke failures on purpose: what the library logs about them would read like a fault.
    ::setenv("SLUICE_LOG_LEVEL", "off", 0);
    doctest::Context context(argc, argv);
    return context.run();
}
