// SPDX-License-Identifier: Apache-2.0
#include "sluice/features.hpp"

#include <doctest/doctest.h>

#include <string>

#include "support/run.hpp"

using sluice::features;

TEST_CASE("features: the summary says what is in use, then what is not and why") {
    features f;
    CHECK(f.summary() == "in use:");
    f.set("A", true);
    f.set("B", false, "needs kernel 9");
    f.set("C", true);
    f.set("D", false, "not asked for");
    CHECK(f.summary() == "in use: A C; not: B (needs kernel 9), D (not asked for)");
}

TEST_CASE("features: the last word about one counts, in its first place") {
    features f;
    f.set("A", true);
    f.set("B", true);
    f.set("A", false, "refused");
    CHECK_FALSE(f.has("A"));
    CHECK(f.has("B"));
    CHECK_FALSE(f.has("C"));
    REQUIRE(f.list().size() == 2);
    CHECK(f.list().front().name == "A");
    CHECK(f.list().front().why_not == "refused");
    f.set("A", true);
    CHECK(f.has("A"));
    CHECK(f.summary() == "in use: A B");
}

TEST_CASE(
    "features: a reactor's name what it can't do without, and a reason for each that is not") {
    const auto home = sluice::testing::make_reactor();
    const features& found = home->ring_features();
    CHECK(found.has("SINGLE_ISSUER"));
    CHECK(found.has("DEFER_TASKRUN"));
    CHECK(found.list().size() > 5);
    for (const auto& f : found.list()) {
        CAPTURE(f.name);
        CHECK((f.in_use || !f.why_not.empty()));
        CHECK(found.summary().find(f.name) != std::string::npos);
    }
}
