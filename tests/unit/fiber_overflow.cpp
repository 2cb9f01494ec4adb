// SPDX-License-Identifier: Apache-2.0
// What happens at the end of a fiber's stack.

#include <csignal>
#include <cstdio>
#include <string>

#include "sluice/fiber.hpp"
#include "support/child.hpp"
#include "support/run.hpp"
#include "support/sanitizers.hpp"

namespace fiber = sluice::fiber;
using namespace sluice::testing;
using sluice::fiber_options;
using sluice::reactor_options;
using sluice::task;
using sluice::yield;

namespace {

volatile bool ends = false;

[[gnu::noinline]] int endless(int n) {
    if (ends) return 0;
    volatile char frame[1024];
    frame[0] = static_cast<char>(n);
    return endless(n + 1) + frame[0];
}

child_outcome overflow(const reactor_options& options, void (*before)()) {
    return in_child([&] {
        before();
        const auto home = make_reactor(options);
        home->spawn([] {
            return fiber::run(fiber_options{.stack_size = 128 * 1024, .name = "the parser"}, [] {
                fiber::await(yield());
                return endless(0);
            });
        });
        home->run_until_idle();
        return 0;
    });
}

constexpr const char* message =
    "sluice: fatal: stack overflow in the fiber 'the parser', which has 131072 bytes";

}  // namespace

TEST_CASE("fiber: a stack overflow is named, and the program ends as it would have") {
    const auto outcome = overflow({}, [] {});
    INFO(outcome.errors);
    CHECK(outcome.errors.find(message) != std::string::npos);
    if (!under_sanitizer) CHECK(outcome.signal == SIGSEGV);
    CHECK((outcome.signal != 0 || outcome.exit_code != 0));
}

TEST_CASE("fiber: a handler that was there before is called after the message") {
    const auto outcome = overflow({}, [] {
        std::signal(SIGSEGV, [](int) {
            std::fputs("the old handler\n", stderr);
            std::_Exit(42);
        });
    });
    INFO(outcome.errors);
    const auto first = outcome.errors.find(message);
    const auto second = outcome.errors.find("the old handler");
    CHECK(first != std::string::npos);
    CHECK(second != std::string::npos);
    CHECK(first < second);
    CHECK(outcome.exit_code == 42);
}

TEST_CASE("fiber: no signal is touched when it is not wanted") {
    reactor_options options;
    options.report_stack_overflow = false;
    const auto outcome = overflow(options, [] {});
    CHECK(outcome.errors.find("sluice: fatal") == std::string::npos);
    CHECK((outcome.signal != 0 || outcome.exit_code != 0));
}

TEST_CASE("fiber: another fault is not taken for an overflow") {
    const auto outcome = in_child([] {
        const auto home = make_reactor();
        home->spawn([] {
            return fiber::run([] {
                static volatile std::uintptr_t nowhere = 16;
                return *reinterpret_cast<volatile int*>(nowhere);
            });
        });
        home->run_until_idle();
        return 0;
    });
    CHECK(outcome.errors.find("stack overflow in the fiber") == std::string::npos);
    if (!under_sanitizer) CHECK(outcome.signal == SIGSEGV);
    CHECK((outcome.signal != 0 || outcome.exit_code != 0));
}
