// SPDX-License-Identifier: Apache-2.0
//! For tests of programs that use sluice: coroutines as test cases, connected streams, a clock that
//! jumps, and operations that fail on purpose. Works with any test framework; the macro
//! SLUICE_TEST_CASE is for doctest, which is to be included before it is used.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

#include "sluice/nursery.hpp"
#include "sluice/reactor.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"
#include "sluice/tcp_stream.hpp"

namespace sluice {
namespace detail {
class controlled_kernel;
}

namespace test {

//! Linux with a clock of its own. Time stands still while there is something to do; when all
//! coroutines wait, it jumps to the next deadline. So a test of a timeout of an hour takes no time
//! and always the same course, as long as both ends of its connections are on this reactor: a peer
//! on another thread or in another process does not see the jumps and loses against every timeout.
//! Each jump costs a millisecond, in which Linux may finish what it does in the background; with
//! TCP sockets 50, because on a busy machine their packets take as long.
//!
//! For one reactor at a time, which must end before it.
class controlled_environment {
public:
    controlled_environment();
    ~controlled_environment();
    controlled_environment(const controlled_environment&) = delete;
    controlled_environment& operator=(const controlled_environment&) = delete;

    //! Moves the clock; the reactor sees it at its next turn.
    void advance(std::chrono::nanoseconds by) noexcept;

    //! Operations that went to the kernel so far, of those that can be made to fail: connecting,
    //! accepting, receiving, sending, shutting down. A receive counts when it is armed.
    [[nodiscard]] std::uint64_t operations() const noexcept;

    //! Makes operation number operations() + `n` fail with the errno `error`, as if the kernel had
    //! said so. Linux 6.10; before that it fails with EINVAL. 0: none.
    void fail_at(std::uint64_t n, int error) noexcept;

    //! A reactor in this environment; like reactor::create().
    result<std::unique_ptr<reactor>> make_reactor(const reactor_options& options = {},
                                                  unsigned index = 0);

private:
    std::unique_ptr<detail::controlled_kernel> kernel_;
};

struct run_options {
    reactor_options reactor{};
    unsigned index = 0;
    controlled_environment* environment = nullptr;  //!< null: Linux as it is
};

//! Makes a reactor on this thread. Throws std::runtime_error with the cause where there can be
//! none.
std::unique_ptr<reactor> make_reactor(const run_options& options = {});

//! Throws std::runtime_error unless everything that the reactor has lent is back: operations,
//! frames, timers.
void require_balanced_books(const reactor_stats& stats);

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

//! Makes a reactor on this thread, spawns `fn`, which takes nothing or a `reactor&` and returns
//! task<>, and runs until nothing is left to do. Throws what escaped from `fn`, then for books
//! that do not balance. Returns what the reactor counted.
template <class F>
reactor_stats run(F fn, const run_options& options = {}) {
    const auto home = make_reactor(options);
    std::exception_ptr escaped;
    home->spawn(detail::guard<F>, &fn, home.get(), &escaped);
    home->run_until_idle();
    const reactor_stats stats = home->stats();
    if (escaped) std::rethrow_exception(escaped);
    require_balanced_books(stats);
    return stats;
}

//! Runs `fn` again and again: first its first operation fails with `error`, then its second, until
//! it ends without having got that far. So every path of error handling is taken once. Returns
//! how many runs had a failure. `most` bounds them.
template <class F>
std::uint64_t run_with_each_failure(int error, F fn, const run_options& options = {},
                                    std::uint64_t most = 1000) {
    for (std::uint64_t n = 1; n <= most; ++n) {
        controlled_environment world;
        world.fail_at(n, error);
        run_options here = options;
        here.environment = &world;
        run(fn, here);
        if (world.operations() < n) return n - 1;
    }
    return most;
}

//! Both ends of a connection.
struct stream_pair {
    tcp_stream left;
    tcp_stream right;
};

//! Two streams of one reactor that are connected to each other in memory: socketpair(2), AF_UNIX.
//! They have no addresses. Errors: the kernel's; EOPNOTSUPP with registered descriptors.
result<stream_pair> connected_pair(reactor& home);

}  // namespace test
}  // namespace sluice

//! A test case of doctest whose body is a coroutine on a reactor of its own; it ends when all that
//! the body has spawned there has ended.
#define SLUICE_TEST_CASE(name) SLUICE_TEST_CASE_NAMED(DOCTEST_ANONYMOUS(sluice_test_), name)
#define SLUICE_TEST_CASE_NAMED(function, name)         \
    static ::sluice::task<> function();                \
    TEST_CASE(name) { ::sluice::test::run(function); } \
    static ::sluice::task<> function()
