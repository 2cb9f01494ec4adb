// SPDX-License-Identifier: Apache-2.0
#include "sluice/version.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <string>

TEST_CASE("version: three numbers") {
    const std::string version(sluice::version());
    unsigned major = 0;
    unsigned minor = 0;
    unsigned patch = 0;
    int length = 0;
    CHECK(std::sscanf(version.c_str(), "%u.%u.%u%n", &major, &minor, &patch, &length) == 3);
    CHECK(version.size() == static_cast<std::size_t>(length));
}
