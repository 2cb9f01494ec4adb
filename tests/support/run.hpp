// SPDX-License-Identifier: Apache-2.0
//! Runs a coroutine as a test on a real reactor: sluice/test.hpp, with more of doctest in it.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <utility>

#include "sluice/nursery.hpp"
#include "sluice/reactor.hpp"
#include "sluice/task.hpp"
#include "sluice/test.hpp"
#include "sluice/timeout.hpp"
#include "support/mode.hpp"

namespace sluice::testing {

using test::run;
using test::run_options;

namespace detail {
using test::detail::guard;
}

//! Makes a reactor on this thread; fails the test, with the cause, where there can be none.
inline std::unique_ptr<reactor> make_reactor(const reactor_options& options = {},
                                             unsigned index = 0) {
    auto made = reactor::create(in_mode_under_test(options), index);
    if (!made) FAIL("no reactor: " << explain_ring_error(made.error()));
    return std::move(*made);
}

//! Fails the test unless everything that the reactor has lent is back.
inline void check_books(const reactor_stats& stats) {
    CHECK(stats.live_operations == 0);
    CHECK(stats.live_frames == 0);
    CHECK(stats.live_timers == 0);
}

}  // namespace sluice::testing
