// SPDX-License-Identifier: Apache-2.0
#include "net/ladder.hpp"

#include <doctest/doctest.h>

using sluice::rung;
using sluice::detail::ladder;

TEST_CASE("ladder: rungs are entered at their marks and left with a margin") {
    ladder l("test", {25, 12, 6, 12});
    l.observe(100, 100);
    CHECK_FALSE(l.on(rung::small_copy));
    l.observe(25, 100);
    CHECK_FALSE(l.on(rung::small_copy));
    l.observe(24, 100);
    CHECK(l.on(rung::small_copy));
    CHECK_FALSE(l.on(rung::full_copy));
    l.observe(36, 100);
    CHECK(l.on(rung::small_copy));
    l.observe(37, 100);
    CHECK_FALSE(l.on(rung::small_copy));
    l.observe(0, 100);
    CHECK(l.on(rung::small_copy));
    CHECK(l.on(rung::full_copy));
    CHECK(l.on(rung::evacuate));
    l.observe(18, 100);
    CHECK_FALSE(l.on(rung::evacuate));
    CHECK(l.on(rung::full_copy));
    l.observe(100, 100);
    CHECK_FALSE(l.on(rung::small_copy));
    const auto& small = l.stats().of(rung::small_copy);
    CHECK(small.entered == 2);
    CHECK(small.left == 2);
}

TEST_CASE("ladder: every count between the marks is seen, from both sides") {
    ladder l("test", {25, 12, 6, 12});
    bool small = false;
    bool full = false;
    bool evacuate = false;
    const auto expect = [&](unsigned free) {
        small = free < 25 || (small && free < 37);
        full = free < 12 || (full && free < 24);
        evacuate = free < 6 || (evacuate && free < 18);
        l.observe(free, 100);
        CHECK(l.on(rung::small_copy) == small);
        CHECK(l.on(rung::full_copy) == full);
        CHECK(l.on(rung::evacuate) == evacuate);
    };
    for (unsigned free = 100; free-- > 0;) expect(free);
    for (unsigned free = 0; free <= 100; ++free) expect(free);
    for (const unsigned free : {30U, 20U, 30U, 10U, 23U, 24U, 5U, 17U, 18U, 40U, 0U, 100U})
        expect(free);
}

TEST_CASE("ladder: with few buffers, none left is every rung, and all back is none") {
    for (const unsigned total : {1U, 2U, 3U, 8U}) {
        CAPTURE(total);
        ladder l("test", {25, 12, 6, 12});
        l.observe(total, total);
        CHECK_FALSE(l.on(rung::small_copy));
        l.observe(0, total);
        CHECK(l.on(rung::evacuate));
        l.observe(total, total);
        CHECK_FALSE(l.on(rung::small_copy));
        CHECK_FALSE(l.on(rung::full_copy));
        CHECK_FALSE(l.on(rung::evacuate));
    }
}

TEST_CASE("ladder: a mark of 0 takes a rung out") {
    ladder l("test", {0, 0, 6, 12});
    l.observe(0, 100);
    CHECK_FALSE(l.on(rung::small_copy));
    CHECK_FALSE(l.on(rung::full_copy));
    CHECK(l.on(rung::evacuate));
}

TEST_CASE("ladder: more buffers move the marks") {
    ladder l("test", {25, 12, 6, 12});
    l.observe(10, 100);
    CHECK(l.on(rung::full_copy));
    l.observe(110, 200);
    CHECK_FALSE(l.on(rung::small_copy));
    l.observe(49, 200);
    CHECK(l.on(rung::small_copy));
}

TEST_CASE("ladder: the other rungs are whoever's who enters them, once") {
    ladder l("test", {25, 12, 6, 12});
    l.enter(rung::heal);
    l.enter(rung::heal);
    CHECK(l.stats().of(rung::heal).entered == 1);
    l.leave(rung::heal);
    l.leave(rung::heal);
    CHECK(l.stats().of(rung::heal).left == 1);
    l.set(rung::heap, true);
    CHECK(l.on(rung::heap));
}
