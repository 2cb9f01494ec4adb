// SPDX-License-Identifier: Apache-2.0
//! Runs a coroutine as a test on a real reactor.
#pragma once

#include <doctest/doctest.h>

#include <concepts>
#include <exception>
#include <memory>
#include <utility>

#include "sluice/nursery.hpp"
#include "sluice/reactor.hpp"
#include "sluice/task.hpp"
#include "sluice/timeout.hpp"

namespace sluice::testing {

struct run_options {
    reactor_options reactor;
    unsigned index = 0;
};

namespace detail {

template <class F>
task<> call(F& fn, reactor& home) {
    if constexpr (std::invocable<F&, reactor&>)
        co_await fn(home);
    else
        co_await fn();
}

// A test that has failed cancels what it has started, so that the run ends.
template <class F>
task<> guard(F* fn, reactor* home, std::exception_ptr* escaped) {
    try {
        co_await call(*fn, *home);
    } catch (...) {
        *escaped = std::current_exception();
        home->request_stop();
    }
}

}  // namespace detail

//! Makes a reactor on this thread; fails the test, with the cause, where there can be none.
inline std::unique_ptr<reactor> make_reactor(const reactor_options& options = {},
                                             unsigned index = 0) {
    auto made = reactor::create(options, index);
    if (!made) FAIL("no reactor: " << explain_ring_error(made.error()));
    return std::move(*made);
}

//! Fails the test unless everything that the reactor has lent is back.
inline void check_books(const reactor_stats& stats) {
    CHECK(stats.live_operations == 0);
    CHECK(stats.live_frames == 0);
    CHECK(stats.live_timers == 0);
}

//! Makes a reactor on this thread, spawns `fn`, which takes nothing or a `reactor&` and returns
//! task<>, and runs until nothing is left to do. Checks the books, then throws what escaped from
//! `fn`. Returns what the reactor counted.
template <class F>
reactor_stats run(F fn, const run_options& options = {}) {
    const auto home = make_reactor(options.reactor, options.index);
    std::exception_ptr escaped;
    home->spawn(detail::guard<F>, &fn, home.get(), &escaped);
    home->run_until_idle();
    const reactor_stats stats = home->stats();
    check_books(stats);
    if (escaped) std::rethrow_exception(escaped);
    return stats;
}

}  // namespace sluice::testing

//! A test case whose body is a coroutine on a reactor of its own; it ends when all that the body
//! has spawned there has ended.
#define SLUICE_TEST_CASE(name) SLUICE_TEST_CASE_NAMED(DOCTEST_ANONYMOUS(sluice_test_), name)
#define SLUICE_TEST_CASE_NAMED(function, name)            \
    static ::sluice::task<> function();                   \
    TEST_CASE(name) { ::sluice::testing::run(function); } \
    static ::sluice::task<> function()
