// SPDX-License-Identifier: Apache-2.0
//! What the tests of the primitives for one reactor share.
#pragma once

#include <coroutine>
#include <utility>

#include "sluice/awaitable.hpp"
#include "support/allocation_count.hpp"
#include "support/run.hpp"

namespace sluice::testing {

bool is(const auto& r, error e) { return r.has_error() && r.error() == e; }
bool is_cancelled(const auto& r) { return r.has_error() && r.error() == cancelled_error(); }

//! Awaits `A` to its end and then throws it away without taking its result, as a combinator does
//! with one that came too late.
template <class A>
class [[nodiscard]] discarded {
public:
    explicit discarded(A inner) : inner_(std::move(inner)) {}
    bool await_ready() const noexcept { return inner_.await_ready(); }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        return inner_.await_suspend(h, env);
    }
    void await_resume() const noexcept {}

private:
    A inner_;
};

//! Lets everything that is ready run until nothing else is.
inline task<> settle() {
    for (int i = 0; i < 5; ++i) co_await yield();
}

//! Checks that `cycle()`, a task, allocates nothing from the heap once it has been run before.
template <class Cycle>
task<> check_allocates_nothing(Cycle cycle) {
    for (int i = 0; i < 100; ++i) co_await cycle();
    const auto before = allocations();
    for (int i = 0; i < 1000; ++i) co_await cycle();
    const auto after = allocations();
    CHECK(after == before);
}

}  // namespace sluice::testing
