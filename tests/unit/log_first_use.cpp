// SPDX-License-Identifier: Apache-2.0
// What the logger is like is settled at its first use in a process: each case has its own, and this
// program never uses it itself.
#include "sluice/log.hpp"

#include <doctest/doctest.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "support/child.hpp"

using sluice::testing::child_outcome;
using sluice::testing::in_child;

namespace {

child_outcome first_use_with(const char* level) {
    return in_child([level] {
        if (level != nullptr)
            ::setenv("SLUICE_LOG_LEVEL", level, 1);
        else
            ::unsetenv("SLUICE_LOG_LEVEL");
        sluice::logger()->info("an information");
        sluice::logger()->error("a failure");
        return 0;
    });
}

bool has(const child_outcome& outcome, const char* part) {
    return outcome.errors.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("log: by default it tells from info on, on standard error") {
    const auto outcome = first_use_with(nullptr);
    CHECK(outcome.exit_code == 0);
    CHECK(has(outcome, "sluice"));
    CHECK(has(outcome, "an information"));
    CHECK(has(outcome, "a failure"));
}

TEST_CASE("log: the environment sets the level") {
    const auto error = first_use_with("error");
    CHECK_FALSE(has(error, "an information"));
    CHECK(has(error, "a failure"));
    const auto off = first_use_with("off");
    CHECK(off.exit_code == 0);
    CHECK(off.errors.empty());
}

TEST_CASE("log: a wrong level in the environment is named, and info stays") {
    const auto outcome = first_use_with("loud");
    CHECK(has(outcome, "SLUICE_LOG_LEVEL=loud"));
    CHECK(has(outcome, "an information"));
}

TEST_CASE("log: a logger that the program has registered before is used") {
    const auto outcome = in_child([] {
        const auto own = std::make_shared<spdlog::logger>(
            "sluice", std::make_shared<spdlog::sinks::null_sink_mt>());
        spdlog::register_logger(own);
        sluice::logger()->error("to nowhere");
        return sluice::logger() == own ? 0 : 1;
    });
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.errors.empty());
}
