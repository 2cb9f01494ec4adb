// SPDX-License-Identifier: Apache-2.0
#include "runtime/home_check.hpp"

#include <future>
#include <memory>
#include <thread>

#include "sluice/background.hpp"
#include "sluice/idle_timer.hpp"
#include "support/child.hpp"
#include "support/run.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using sluice::background;
using sluice::nursery;
using sluice::reactor;
using sluice::task;
using sluice::testing::expect_death;
using sluice::testing::make_reactor;

namespace {

constexpr const char* not_checked = "the library is built without home_checks";

//! Runs `fn(home of the other)` as a coroutine on reactor 1, while reactor 0 is the main thread's.
template <class F>
void use_elsewhere(F fn) {
    const auto zero = make_reactor({}, 0);
    std::thread([&] {
        const auto one = make_reactor({}, 1);
        one->spawn([&]() -> task<> { co_await fn(*zero); });
        one->run_until_idle();
    }).join();
}

task<> nothing() { co_return; }

}  // namespace

TEST_CASE("home check: spawning on another reactor's nursery names both") {
    if (!sluice::detail::home_is_checked) return sluice::testing::report_skip(not_checked);
    expect_death(
        [] {
            use_elsewhere([](reactor& other) -> task<> {
                other.spawn(nothing);
                co_return;
            });
        },
        "sluice: fatal: a nursery of reactor 0 was used on the thread of reactor 1: .*post");
    expect_death(
        [] {
            use_elsewhere([](reactor& other) -> task<> {
                background bg(other);
                static_cast<void>(co_await bg.spawn_when_room(nothing));
            });
        },
        "a nursery of reactor 0 was used on the thread of reactor 1");
    expect_death(
        [] {
            use_elsewhere([](reactor& other) -> task<> {
                background bg(other);
                static_cast<void>(co_await bg.stop());
            });
        },
        "a nursery of reactor 0 was used on the thread of reactor 1");
}

TEST_CASE("home check: stopping another reactor directly, and from a thread without one") {
    if (!sluice::detail::home_is_checked) return sluice::testing::report_skip(not_checked);
    expect_death(
        [] {
            use_elsewhere([](reactor& other) -> task<> {
                other.request_stop();
                co_return;
            });
        },
        "request_stop.. of reactor 0 was used on the thread of reactor 1");
    expect_death(
        [] {
            const auto zero = make_reactor({}, 0);
            std::thread([&] { zero->request_drain(); }).join();
        },
        "of reactor 0 was used on a thread that has no reactor");
}

TEST_CASE("home check: a timer that began elsewhere") {
    if (!sluice::detail::home_is_checked) return sluice::testing::report_skip(not_checked);
    expect_death(
        [] {
            const auto zero = make_reactor({}, 0);
            sluice::idle_timer idle(1h);
            zero->spawn(
                [&]() -> task<> { static_cast<void>(co_await idle.guard(sluice::sleep_for(0s))); });
            zero->run_until_idle();
            std::thread([&] {
                const auto one = make_reactor({}, 1);
                one->spawn([&]() -> task<> {
                    static_cast<void>(co_await idle.guard(sluice::sleep_for(0s)));
                });
                one->run_until_idle();
            }).join();
        },
        "an idle_timer of reactor 0 was used on the thread of reactor 1");
}

TEST_CASE("home check: what may be done from elsewhere is not stopped") {
    const auto zero = make_reactor({}, 0);
    bool ran = false;
    std::thread([&] {
        zero->post([&] {
            zero->spawn([&]() -> task<> {
                ran = true;
                co_return;
            });
        });
        zero->post([&] { zero->request_stop(); });
    }).join();
    zero->run();
    CHECK(ran);
}
