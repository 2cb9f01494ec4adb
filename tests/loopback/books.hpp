// SPDX-License-Identifier: Apache-2.0
//! Runs a coroutine on a reactor and checks that everything that was lent came back.
#pragma once

#include <utility>

#include "loopback/watchdog.hpp"
#include "sluice/net_stats.hpp"
#include "support/run.hpp"

namespace sluice::testing {

//! What a reactor counted, at its end.
struct net_outcome {
    reactor_stats runtime;
    net_stats net;
};

//! Fails the test unless all connections have ended and all buffers are with the kernel.
inline void check_net_books(const net_stats& stats) {
    CHECK(stats.open == 0);
    CHECK(stats.buffers_lent == 0);
    CHECK(stats.buffers_kernel == stats.buffers_total);
}

//! Checks the books of a reactor that is idle; takes in what died on other threads before.
inline net_outcome settle(reactor& home) {
    home.spawn([]() -> task<> { co_await yield(); });
    home.run_until_idle();
    const net_outcome outcome{home.stats(), net_stats_of(home)};
    check_books(outcome.runtime);
    check_net_books(outcome.net);
    return outcome;
}

//! Makes a reactor, runs `fn`, which takes nothing or a `reactor&` and returns task<>, until
//! nothing is left to do, and checks the books. Throws what escaped from `fn`.
template <class F>
net_outcome run_net(F fn, const reactor_options& options = {}) {
    const watchdog limit;
    const auto home = make_reactor(options);
    std::exception_ptr escaped;
    home->spawn(detail::guard<F>, &fn, home.get(), &escaped);
    home->run_until_idle();
    const net_outcome outcome = settle(*home);
    if (escaped) std::rethrow_exception(escaped);
    return outcome;
}

}  // namespace sluice::testing

//! A test case whose body is a coroutine with the reactor `home` of its own, books checked at the
//! end.
#define SLUICE_NET_TEST(name) SLUICE_NET_TEST_NAMED(DOCTEST_ANONYMOUS(sluice_net_test_), name)
#define SLUICE_NET_TEST_NAMED(function, name)                                   \
    static ::sluice::task<> function([[maybe_unused]] ::sluice::reactor& home); \
    TEST_CASE(name) { ::sluice::testing::run_net(function); }                   \
    static ::sluice::task<> function([[maybe_unused]] ::sluice::reactor& home)
