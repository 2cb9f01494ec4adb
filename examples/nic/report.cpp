// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

namespace nic {

namespace {

using nlohmann::json;
using sluice::nic_verdict;

void print(const json& j) {
    std::printf("%s\n", j.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

json number(const auto& optional) { return optional ? json(*optional) : json(); }

json to_json(const sluice::nic_queue& queue) {
    return {{"id", queue.id},
            {"use", sluice::name_of(queue.use)},
            {"napi", number(queue.napi)},
            {"irq", number(queue.irq)},
            {"irq_cpus", queue.irq_cpus},
            {"defer_hard_irqs", number(queue.defer_hard_irqs)},
            {"gro_flush_timeout_ns", number(queue.gro_flush_timeout_ns)}};
}

void print_queues(const sluice::nic_state& state) {
    for (const auto& queue : state.queues) {
        std::printf("  queue %u: used by %s", queue.id, sluice::name_of(queue.use));
        if (queue.napi) std::printf(", NAPI %u", *queue.napi);
        if (queue.irq) std::printf(", IRQ %u on CPUs %s", *queue.irq, queue.irq_cpus.c_str());
        std::printf("\n");
    }
}

}  // namespace

exit_code code_of(const std::vector<sluice::nic_requirement>& requirements) {
    exit_code code = all_there;
    for (const auto& r : requirements) {
        if (r.verdict == nic_verdict::cannot) return cannot_be_had;
        if (r.verdict == nic_verdict::missing) code = can_be_mended;
    }
    return code;
}

void print_check(const sluice::nic_state& state,
                 const std::vector<sluice::nic_requirement>& requirements, bool as_json) {
    if (as_json) {
        json list = json::array();
        for (const auto& r : requirements)
            list.push_back({{"name", r.name},
                            {"verdict", sluice::name_of(r.verdict)},
                            {"why", r.why},
                            {"remedy", r.remedy}});
        json queues = json::array();
        for (const auto& queue : state.queues) queues.push_back(to_json(queue));
        return print({{"interface", state.interface},
                      {"driver", state.driver},
                      {"firmware", state.firmware},
                      {"requirements", list},
                      {"queues", queues}});
    }
    for (const auto& r : requirements) {
        std::printf("%-8s %-16s %s\n", sluice::name_of(r.verdict), r.name.c_str(), r.why.c_str());
        if (r.verdict != nic_verdict::have && !r.remedy.empty())
            std::printf("%-25s -> %s\n", "", r.remedy.c_str());
    }
    print_queues(state);
}

void print_plan(const std::vector<sluice::nic_step>& steps, bool as_json) {
    if (as_json) {
        json list = json::array();
        for (const auto& step : steps)
            list.push_back({{"command", step.command}, {"undo", step.undo_command}});
        return print({{"steps", list}});
    }
    if (steps.empty()) std::printf("# nothing to do\n");
    for (const auto& step : steps) std::printf("%s\n", step.command.c_str());
    const bool undone =
        std::any_of(steps.begin(), steps.end(), [](const auto& s) { return s.undo.has_value(); });
    if (undone) std::printf("# and back:\n");
    for (auto step = steps.rbegin(); step != steps.rend(); ++step)
        if (step->undo) std::printf("#   %s\n", step->undo_command.c_str());
}

void print_commands(const char* heading, const std::vector<std::string>& commands, bool as_json) {
    if (as_json) return print({{heading, commands}});
    if (commands.empty()) std::printf("%s: nothing\n", heading);
    for (const auto& command : commands) std::printf("%s: %s\n", heading, command.c_str());
}

}  // namespace nic
