// SPDX-License-Identifier: Apache-2.0
//! Says whether a NIC can receive without copies and why not, sets it up, and puts it back.
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>
#include <sluice/cpu_set.hpp>
#include <sluice/nic.hpp>
#include <sluice/version.hpp>

#include "report.hpp"
#include "watch.hpp"

namespace {

using namespace nic;

constexpr const char* exit_codes =
    "Exit status: 0 all is there; 1 an error; 2 a wrong command line; 3 something is missing that "
    "apply can mend; 4 something cannot be had.";

struct options {
    sluice::nic_request wanted;
    std::string queues, irq_cpus, journal;
    unsigned defer_hard_irqs = 0;
    std::uint64_t gro_flush_timeout_ns = 0;
    std::uint16_t port = 0;
    std::uint64_t wait_ms = 5000;
    watch_options watching;
    std::uint64_t interval_ms = 1000;
    bool json = false;
    unsigned pause_before = 0;
};

int fail(const std::string& message) {
    std::fprintf(stderr, "sluice-nic: %s\n", message.c_str());
    return failed;
}

void add_interface(CLI::App& command, options& o) {
    command.add_option("interface", o.wanted.interface, "such as eth0")->required();
    command.add_flag("--json", o.json, "for scripts");
}

void add_wanted(CLI::App& command, options& o) {
    add_interface(command, o);
    command.add_option("--queues", o.queues,
                       "receive queues for zero copy, such as 4-7 (default: the last one)");
    command.add_option("--port", o.port, "lead TCP connections to this port there")
        ->check(CLI::Range(1, 65535));
    command.add_option("--irq-cpus", o.irq_cpus, "a CPU for each queue's interrupt, such as 4-7");
    command.add_option("--defer-hard-irqs", o.defer_hard_irqs,
                       "of the queues' NAPIs: so many empty polls before interrupts are on again");
    command.add_option("--gro-flush-timeout", o.gro_flush_timeout_ns,
                       "of the queues' NAPIs, in nanoseconds: what is collected is delivered then");
    command
        .add_option("--area-size", o.wanted.locked_bytes,
                    "memory that the queues' areas will lock, such as 64m")
        ->transform(CLI::AsSizeValue(false))
        ->default_str("64m");
}

void add_journal(CLI::App& command, options& o) {
    command.add_option("--journal", o.journal,
                       "what has to be put back (default: /run/sluice/nic-INTERFACE.json)");
}

bool parse_list(const char* option, const std::string& text, std::vector<unsigned>& to) {
    if (text.empty()) return true;
    auto list = sluice::parse_cpu_list(text);
    if (!list) {
        std::fprintf(stderr, "%s %s: not a list of numbers such as 4-7\n", option, text.c_str());
        return false;
    }
    to = std::move(*list);
    return true;
}

//! For the tests: the program stands still before a step, to be killed there.
void pause(unsigned before_step, const std::vector<sluice::nic_step>& steps) {
    if (before_step == 0) return;
    std::printf("paused before step %u of %zu\n", before_step, steps.size());
    std::fflush(stdout);
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

int run_check(const sluice::nic_state& state, const options& o) {
    const auto found = sluice::check_nic(state, o.wanted);
    print_check(state, found, o.json);
    return code_of(found);
}

int run_apply(const sluice::nic_state& state, const options& o) {
    // What the NIC's settings have nothing to do with may differ where the queues will be used.
    for (const auto& r : sluice::check_nic(state, o.wanted))
        if (r.verdict == sluice::nic_verdict::cannot && r.name != "kernel" &&
            r.name != "locked memory") {
            std::fprintf(stderr, "sluice-nic: %s: %s%s%s\n", r.name.c_str(), r.why.c_str(),
                         r.remedy.empty() ? "" : "; ", r.remedy.c_str());
            return cannot_be_had;
        }
    const auto steps = sluice::plan_nic(state, o.wanted);
    unsigned number = 0;
    const auto done = sluice::apply_nic(state, steps, o.journal, [&](const sluice::nic_step&) {
        if (++number == o.pause_before) pause(number, steps);
    });
    if (!done) return fail(done.error().message);
    std::vector<std::string> commands;
    commands.reserve(steps.size());
    for (const auto& step : steps) commands.push_back(step.command);
    print_commands("done", commands, o.json);
    return all_there;
}

int run_restore(const options& o) {
    const auto done =
        sluice::restore_nic(o.wanted.interface, o.journal, std::chrono::milliseconds(o.wait_ms));
    if (!done) return fail(done.error().message);
    print_commands("restored", *done, o.json);
    return all_there;
}

}  // namespace

int main(int argc, char** argv) {
    options o;
    CLI::App app("Says whether a NIC can receive without copies, sets it up, and puts it back.",
                 "sluice-nic");
    app.set_version_flag("--version", std::string(sluice::version()));
    app.require_subcommand(1);
    app.footer(exit_codes);
    auto* check = app.add_subcommand("check", "each requirement: have, missing or cannot, and why");
    auto* plan = app.add_subcommand("plan", "what apply would do, as commands");
    auto* apply = app.add_subcommand("apply", "set the NIC up; what was there goes to a journal");
    auto* restore = app.add_subcommand("restore", "put back what the journal says");
    auto* watch = app.add_subcommand("watch", "rates, drops and buffers of each queue");
    for (CLI::App* command : {check, plan, apply}) add_wanted(*command, o);
    for (CLI::App* command : {restore, watch}) add_interface(*command, o);
    for (CLI::App* command : {apply, restore}) add_journal(*command, o);
    apply->add_option("--pause-before", o.pause_before)->group("");
    restore->add_option("--wait", o.wait_ms, "for queues to be let go, in milliseconds")
        ->capture_default_str();
    watch->add_option("--interval", o.interval_ms, "in milliseconds")
        ->check(CLI::Range(10, 3'600'000))
        ->capture_default_str();
    watch->add_option("--count", o.watching.count, "end after so many (default: never)");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? all_there : usage_error;
    }
    if (!parse_list("--queues", o.queues, o.wanted.queues) ||
        !parse_list("--irq-cpus", o.irq_cpus, o.wanted.irq_cpus))
        return usage_error;
    for (CLI::App* command : {check, plan, apply}) {
        if (command->count("--port") > 0) o.wanted.port = o.port;
        if (command->count("--defer-hard-irqs") > 0) o.wanted.defer_hard_irqs = o.defer_hard_irqs;
        if (command->count("--gro-flush-timeout") > 0)
            o.wanted.gro_flush_timeout_ns = o.gro_flush_timeout_ns;
    }
    if (o.journal.empty()) o.journal = sluice::nic_journal_path(o.wanted.interface);
    if (*restore) return run_restore(o);
    if (*watch) {
        o.watching.interval = std::chrono::milliseconds(o.interval_ms);
        o.watching.json = o.json;
        const auto ended = nic::watch(o.wanted.interface, o.watching);
        return ended ? all_there : fail(ended.error().message);
    }
    const auto state = sluice::inspect_nic(o.wanted.interface);
    if (!state) return fail(state.error().message);
    if (*check) return run_check(*state, o);
    if (*apply) return run_apply(*state, o);
    print_plan(sluice::plan_nic(*state, o.wanted), o.json);
    return all_there;
}
