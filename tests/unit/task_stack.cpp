// SPDX-License-Identifier: Apache-2.0
// Awaiting uses no stack that stays, at any level of optimisation: built at several.

#include <chrono>

#include "support/run.hpp"
#include "support/sanitizers.hpp"
#include "support/stack.hpp"

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::yield;
using sluice::testing::on_small_stack;
using sluice::testing::stack_range;

namespace {

constexpr int ten_million = 10'000'000;
constexpr int one_million = 1'000'000;
// Room for the set-up of a reactor and its loop. Ten million leaked frames of 8 bytes would fill it
// many times over.
constexpr std::size_t small_stack = (sluice::testing::under_sanitizer ? 512 : 192) * 1024;
// A turn of the loop and a handful of frames differ by this much at most.
constexpr std::size_t allowed_growth = 16 * 1024;

task<int> ready_child(stack_range& seen, int n) {
    seen.look();
    co_return n & 1;
}
task<int> child_of_child(stack_range& seen, int n) { co_return co_await ready_child(seen, n); }
task<int> yielding_child(stack_range& seen, int n) {
    seen.look();
    co_await yield();
    seen.look();
    co_return n & 1;
}
task<int> sleeping_child(stack_range& seen, int n) {
    const auto slept = co_await sleep_for(0s);
    seen.look();
    co_return slept ? n & 1 : 0;
}
task<int> failing_child(stack_range& seen, int n) {
    seen.look();
    if (n % 2 != 0) throw n;
    co_return 0;
}

task<std::int64_t> odd(stack_range& seen, int n);
task<std::int64_t> even(stack_range& seen, int n) {
    if (n == 0) {
        co_await yield();  // so that all return later, one after the other
        co_return 0;
    }
    const std::int64_t below = co_await odd(seen, n - 1);
    seen.look();  // on the way back
    co_return below + 1;
}
task<std::int64_t> odd(stack_range& seen, int n) {
    const std::int64_t below = co_await even(seen, n - 1);
    co_return below + 1;
}

//! Awaits `child(seen, i)` for each i below `count`, on a small stack that must not fill up.
template <class Child>
void repeat_on_small_stack(int count, Child child) {
    std::int64_t sum = 0;
    stack_range seen;
    const auto began = std::chrono::steady_clock::now();
    on_small_stack(small_stack, [&] {
        sluice::testing::run([&]() -> task<> {
            for (int i = 0; i < count; ++i) sum += co_await child(seen, i);
        });
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    MESSAGE(count << " awaits in " << took.count() << " s");
    CHECK(sum == count / 2);
    CHECK(seen.bytes() < allowed_growth);
}

}  // namespace

TEST_CASE("task: ten million awaits of children that are ready") {
    repeat_on_small_stack(ten_million, ready_child);
}

TEST_CASE("task: a million awaits of children of children that are ready") {
    repeat_on_small_stack(one_million, child_of_child);
}

TEST_CASE("task: ten million awaits through the ready list") {
    repeat_on_small_stack(ten_million, yielding_child);
}

TEST_CASE("task: 100,000 awaits of children that end after a timer") {
    repeat_on_small_stack(100'000, sleeping_child);
}

TEST_CASE("task: ten million awaits of the ready list itself") {
    stack_range seen;
    on_small_stack(small_stack, [&] {
        sluice::testing::run([&]() -> task<> {
            for (int i = 0; i < ten_million; ++i) {
                co_await yield();
                seen.look();
            }
        });
    });
    CHECK(seen.bytes() < allowed_growth);
}

TEST_CASE("task: 20,000 children that throw") {
    stack_range seen;
    int caught = 0;
    on_small_stack(small_stack, [&] {
        sluice::testing::run([&]() -> task<> {
            for (int i = 0; i < 20'000; ++i) {
                try {
                    static_cast<void>(co_await failing_child(seen, i));
                } catch (int) {
                    ++caught;
                }
            }
        });
    });
    CHECK(caught == 10'000);
    CHECK(seen.bytes() < allowed_growth);
}

TEST_CASE("task: a recursion 10,000 deep on a stack of the usual size, returning flat") {
    std::int64_t depth = 0;
    stack_range seen;
    // AddressSanitizer's red zones make frames several times as large.
    constexpr std::size_t usual_size = std::size_t{8} << 20;
    on_small_stack(sluice::testing::under_asan ? 8 * usual_size : usual_size, [&] {
        sluice::testing::run([&]() -> task<> { depth = co_await even(seen, 10'000); });
    });
    CHECK(depth == 10'000);
    CHECK(seen.bytes() < allowed_growth);
}
