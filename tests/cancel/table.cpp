// SPDX-License-Identifier: Apache-2.0
// The table of all operations, on Linux and on the simulated kernel.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>

#include "cancel/cell.hpp"
#include "loopback/books.hpp"
#include "sim/seeds.hpp"
#include "sim/sim_kernel.hpp"
#include "support/cores.hpp"
#include "support/skip.hpp"

namespace sluice::testing {

namespace {

constexpr phase columns[] = {phase::before_start, phase::before_with_result, phase::in_flight,
                             phase::stop_first, phase::completion_first};

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

reactor_options small(const row& r) {
    reactor_options options;
    options.zero_copy_send_from = r.zero_copy ? 1 : 0;
    options.zero_copy_send_despite_copies = true;
    options.sq_entries = 64;
    options.cq_entries = 256;
    options.recv_buffers = 8;
    options.recv_buffer_size = 4096;
    return options;
}

//! All of the cell, on a reactor that is not used for anything else; throws what escapes.
void play_on(reactor& home, sluice::detail::kernel& below, std::function<std::size_t()> descriptors,
             const row& r, phase p, bool strict) {
    std::exception_ptr escaped;
    home.spawn([&]() -> task<> {
        stage s(home, below, descriptors);
        s.strict = strict;
        try {
            co_await play(s, r, p);
        } catch (...) {
            escaped = std::current_exception();
        }
    });
    home.run_until_idle();
    settle(home);
    if (escaped) std::rethrow_exception(escaped);
}

void play_on_linux(const row& r, phase p) {
    const std::size_t before = open_descriptors();
    {
        const auto home = make_reactor(small(r));
        play_on(*home, sluice::detail::linux_kernel(), open_descriptors, r, p, true);
    }
    CHECK(open_descriptors() == before);
}

void play_on_service(const row& r, phase p) {
    const std::size_t before = open_descriptors();
    auto options = cores(2);
    options.reactor = small(r);
    {
        service both(options);
        const auto report = run_service(both, [&]() -> task<> {
            // What is noted for messages belongs to a thread.
            INFO(std::string(r.name) << ", " << std::string(name_of(p)));
            stage s(*reactor::current(), sluice::detail::linux_kernel(), open_descriptors);
            co_await play(s, r, p);
        });
        for (const reactor_report& each : report.reactors) check_books(each.stats);
    }
    CHECK(open_descriptors() == before);
}

void play_on_simulation(sim::sim_kernel& sim, const row& r, phase p, bool strict) {
    {
        auto home = reactor::create_on(sim, small(r));
        REQUIRE(home.has_value());
        play_on(
            **home, sim, [&] { return static_cast<std::size_t>(sim.books().open_files); }, r, p,
            strict);
    }
    CHECK(sim.check_clean() == "");
    CHECK(sim.books().open_files == 0);
    CHECK(sim.books().requests == 0);
}

//! Calls `play_cell(row, phase)` for the whole table; what fails, or hangs, is named.
void for_each_cell(std::span<const row> rows,
                   const std::function<void(const row&, phase)>& play_cell,
                   bool with_zero_copy = true) {
    for (const row& r : rows)
        for (const phase p : columns) {
            INFO(std::string(r.name) << ", " << std::string(name_of(p)));
            if (r.zero_copy && !with_zero_copy) continue;
            if (std::getenv("SLUICE_CANCEL_TRACE") != nullptr)
                std::fprintf(stderr, "%s, %s\n", r.name, name_of(p));
            play_cell(r, p);
        }
}

void on_simulation(const sim::sim_options& options, std::span<const row> rows) {
    for_each_cell(
        rows,
        [&](const row& r, phase p) {
            sim::sim_kernel sim(1, options);
            play_on_simulation(sim, r, p, true);
        },
        options.kernel.send_reports_use);
}

//! Delays, splits and reorders at random: only what is left behind is checked.
void on_rough_simulation(std::span<const row> rows) {
    const auto failed = sim::for_each_seed(1, 20, [&](sim::sim_kernel& first) {
        sim::sim_options options;
        if (first.seed() % 2 == 0) options.kernel = sim::kernel_6_1();
        for_each_cell(
            rows,
            [&](const row& r, phase p) {
                sim::sim_kernel sim(first.seed(), options);
                play_on_simulation(sim, r, p, false);
            },
            options.kernel.send_reports_use);
    });
    CHECK(failed == 0);
}

void everywhere(std::span<const row> rows) {
    const watchdog limit(std::chrono::seconds(120));
    SUBCASE("Linux") {
        const bool zero_copy = make_reactor()->ring_features().has("SEND_ZC");
        if (!zero_copy && std::ranges::any_of(rows, &row::zero_copy))
            report_skip("zero-copy sends: the kernel has none that report their use");
        for_each_cell(rows, play_on_linux, zero_copy);
    }
    SUBCASE("simulated 6.18") { on_simulation(sim::quiet_options(), rows); }
    SUBCASE("simulated 6.1") { on_simulation(sim::quiet_options(sim::kernel_6_1()), rows); }
    SUBCASE("simulated, with delays at random") { on_rough_simulation(rows); }
}

}  // namespace

TEST_CASE("cancel: receives") { everywhere(receive_rows()); }
TEST_CASE("cancel: sends") { everywhere(send_rows()); }
TEST_CASE("cancel: connections") { everywhere(connection_rows()); }
TEST_CASE("cancel: timers") { everywhere(time_rows()); }
TEST_CASE("cancel: structure") { everywhere(structure_rows()); }
TEST_CASE("cancel: primitives") { everywhere(primitive_rows()); }

TEST_CASE("cancel: files") {
    const watchdog limit(std::chrono::seconds(120));
    for_each_cell(file_rows(), play_on_linux);
}

TEST_CASE("cancel: files, simulated") { report_skip("a simulated kernel has no files"); }

TEST_CASE("cancel: other reactors and threads") {
    const watchdog limit;
    for_each_cell(core_rows(), play_on_service);
}

TEST_CASE("cancel: other reactors and threads, simulated") {
    std::string names;
    for (const row& r : core_rows()) names += (names.empty() ? "" : ", ") + std::string(r.name);
    report_skip(names + ": a simulated kernel has one thread, and these need another");
}

}  // namespace sluice::testing
