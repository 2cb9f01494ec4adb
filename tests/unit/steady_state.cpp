// SPDX-License-Identifier: Apache-2.0
// Nothing allocates once a reactor has warmed up: not the global heap, and not more of its pool.

#include <new>

#include "support/allocation_count.hpp"
#include "support/run.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;
using sluice::detail::frame_pool;
using sluice::testing::allocations;

namespace {

constexpr int warm_up = 1'000;
constexpr int steady = 100'000;

task<int> ready() { co_return 1; }
task<result<int>> later() {
    co_await yield();
    co_return 1;
}

//! Checks that `cycle(n)`, a task that does something n times, allocates only while it warms up.
template <class Cycle>
task<> check_steady(Cycle cycle, int count) {
    co_await cycle(warm_up);
    const auto allocated = allocations();
    const auto reserved = frame_pool::current->reserved_bytes();
    const auto live = frame_pool::current->live();
    co_await cycle(count);
    const auto allocated_after = allocations();
    CHECK(allocated_after == allocated);
    CHECK(frame_pool::current->reserved_bytes() == reserved);
    CHECK(frame_pool::current->live() == live);
}

}  // namespace

SLUICE_TEST_CASE("steady state: allocations are counted at all") {
    if (!sluice::testing::allocations_are_counted) {
        sluice::testing::report_skip(sluice::testing::why_not_counted);
        co_return;
    }
    const auto before = allocations();
    // The function, not a new-expression: those may be left out by a compiler.
    void* p = ::operator new(1);
    CHECK(allocations() == before + 1);
    ::operator delete(p);
    co_return;
}

SLUICE_TEST_CASE("steady state: awaiting tasks") {
    co_await check_steady(
        [](int n) -> task<> {
            for (int i = 0; i < n; ++i) {
                static_cast<void>(co_await ready());
                static_cast<void>(co_await later());
            }
        },
        steady);
}

SLUICE_TEST_CASE("steady state: yield") {
    co_await check_steady(
        [](int n) -> task<> {
            for (int i = 0; i < n; ++i) co_await yield();
        },
        steady);
}

SLUICE_TEST_CASE("steady state: sleeping and timeouts") {
    co_await check_steady(
        [](int n) -> task<> {
            for (int i = 0; i < n; ++i) {
                static_cast<void>(co_await with_timeout(1h, later()));
                if (i % 10 == 0) static_cast<void>(co_await sleep_for(0s));
                if (i % 10 == 5) static_cast<void>(co_await with_timeout(0s, sleep_for(1h)));
            }
        },
        steady);
}

SLUICE_TEST_CASE("steady state: spawn and join") {
    co_await check_steady(
        [](int n) -> task<> {
            for (int i = 0; i < n; ++i)
                static_cast<void>(co_await with_nursery([](nursery& scope) -> task<> {
                    scope.spawn([]() -> task<> { co_await yield(); });
                    scope.spawn(later);
                    co_return;
                }));
        },
        steady / 4);
}

SLUICE_TEST_CASE("steady state: spawning on the reactor") {
    co_await check_steady(
        [](int n) -> task<> {
            reactor& home = co_await sluice::this_coro::reactor();
            int running = 0;
            for (int i = 0; i < n; ++i) {
                ++running;
                home.spawn([&running]() -> task<> {
                    co_await yield();
                    --running;
                });
                while (running > 10) co_await yield();
            }
            while (running > 0) co_await yield();
        },
        steady);
}

SLUICE_TEST_CASE("steady state: cancelling") {
    co_await check_steady(
        [](int n) -> task<> {
            for (int i = 0; i < n; ++i)
                static_cast<void>(co_await with_nursery([](nursery& scope) -> task<> {
                    scope.spawn([]() -> task<> { static_cast<void>(co_await sleep_for(1h)); });
                    co_await yield();
                    scope.request_stop();
                }));
        },
        steady / 4);
}
