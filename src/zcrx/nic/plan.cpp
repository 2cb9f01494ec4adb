// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "sluice/nic.hpp"
#include "zcrx/nic/command.hpp"
#include "zcrx/nic/target.hpp"

namespace sluice {

namespace {

using kind = nic_setting::kind;
using numbers = std::vector<std::uint64_t>;

class planner {
public:
    planner(const nic_state& state, const nic_request& request)
        : state_(state), request_(request), target_(detail::target_of(state, request)) {}

    std::vector<nic_step> make() {
        // In this order: mlx5 wants GRO before the split, more channels change the RSS table, and
        // a rule leads into queues only when nothing else does.
        feature("rx-ntuple-filter", state_.ntuple);
        if (detail::wants_gro_hw(state_)) feature("rx-gro-hw", state_.gro_hw);
        split();
        channels();
        indirection();
        if (!detail::rules_of(request_).empty()) rules();
        napis();
        interrupts();
        return std::move(steps_);
    }

private:
    void add(nic_setting set, std::optional<nic_setting> undo) {
        nic_step step{
            .set = std::move(set), .undo = std::move(undo), .command = {}, .undo_command = {}};
        step.command = detail::command_of(state_, step.set);
        if (step.undo) step.undo_command = detail::command_of(state_, *step.undo);
        steps_.push_back(std::move(step));
    }

    void feature(const std::string& name, const std::optional<nic_feature>& now) {
        if (now && now->changeable && !now->on)
            add({kind::feature, name, {1}}, nic_setting{kind::feature, name, {0}});
    }

    void split() {
        const bool right =
            state_.split == header_split::on && state_.split_threshold.value_or(0) == 0;
        const bool bound = std::any_of(state_.queues.begin(), state_.queues.end(),
                                       [](const auto& q) { return q.use == queue_use::io_uring; });
        if (state_.split == header_split::unsupported &&
            detail::known_driver(state_) != detail::driver_kind::works)
            return;
        if (right && bound) return;  // it could not have been bound
        const auto with_threshold = [&](header_split split, std::uint64_t threshold) {
            nic_setting s{kind::split, {}, {detail::number_of(split)}};
            if (state_.split_threshold) s.values.push_back(threshold);
            return s;
        };
        // What reads as "on" may be the driver's own choice, which is not enough to bind a queue.
        // Saying it once more is harmless.
        add(with_threshold(header_split::on, 0),
            right
                ? std::nullopt
                : std::optional(with_threshold(state_.split, state_.split_threshold.value_or(0))));
    }

    void channels() {
        const unsigned now = state_.rx_queues();
        if (target_.channels <= now || !state_.combined) return;
        const unsigned more = target_.channels - now;
        add({kind::channels, {}, {*state_.combined + more}},
            nic_setting{kind::channels, {}, {*state_.combined}});
    }

    void indirection() {
        const auto& now = state_.indirection;
        const bool hit = target_.channels > state_.rx_queues() ||
                         std::any_of(now.begin(), now.end(),
                                     [&](std::uint32_t queue) { return target_.holds(queue); });
        if (!hit || target_.indirection.empty()) return;
        // A table like the driver's own is put back as such: ethtool -L is refused to who has set
        // one.
        bool own = true;
        for (std::size_t i = 0; i < now.size(); ++i) own = own && now[i] == i % state_.rx_queues();
        add({kind::indirection,
             {},
             numbers(target_.indirection.begin(), target_.indirection.end())},
            nic_setting{kind::indirection, {}, own ? numbers{} : numbers(now.begin(), now.end())});
    }

    void rules() {
        if (!state_.ntuple) return;
        numbers queues(target_.queues.begin(), target_.queues.end());
        const bool there =
            std::any_of(state_.contexts.begin(), state_.contexts.end(),
                        [&](const nic_context& c) { return c.table == target_.context; });
        if (queues.size() > 1 && !there)
            add({kind::context, {}, numbers(target_.context.begin(), target_.context.end())},
                nic_setting{kind::context_gone,
                            {},
                            numbers(target_.context.begin(), target_.context.end())});
        for (const detail::rule_match& wanted : detail::rules_of(request_)) {
            if (detail::find_rule(state_, target_, wanted) != detail::rule_state::absent) continue;
            numbers values = detail::numbers_of(wanted);
            values.insert(values.end(), queues.begin(), queues.end());
            add({kind::rule, {}, values}, nic_setting{kind::rule_gone, {}, values});
        }
    }

    void napis() {
        if (!request_.defer_hard_irqs && !request_.gro_flush_timeout_ns) return;
        for (const unsigned id : target_.queues) {
            const nic_queue* now = detail::find_queue(state_, id);
            const std::uint64_t defer_now = now == nullptr ? 0 : now->defer_hard_irqs.value_or(0);
            const std::uint64_t flush_now =
                now == nullptr ? 0 : now->gro_flush_timeout_ns.value_or(0);
            const std::uint64_t defer = request_.defer_hard_irqs.value_or(defer_now);
            const std::uint64_t flush = request_.gro_flush_timeout_ns.value_or(flush_now);
            if (defer == defer_now && flush == flush_now) continue;
            add({kind::napi, {}, {id, defer, flush}},
                now == nullptr
                    ? std::nullopt
                    : std::optional(nic_setting{kind::napi, {}, {id, defer_now, flush_now}}));
        }
    }

    void interrupts() {
        for (std::size_t i = 0; i < target_.queues.size() && !request_.irq_cpus.empty(); ++i) {
            const unsigned id = target_.queues[i];
            const std::string cpu = std::to_string(request_.irq_cpus[i % request_.irq_cpus.size()]);
            const nic_queue* now = detail::find_queue(state_, id);
            if (now != nullptr && (!now->irq || now->irq_cpus == cpu)) continue;
            add({kind::irq_affinity, cpu, {id}},
                now == nullptr
                    ? std::nullopt
                    : std::optional(nic_setting{kind::irq_affinity, now->irq_cpus, {id}}));
        }
    }

    const nic_state& state_;
    const nic_request& request_;
    const detail::nic_target target_;
    std::vector<nic_step> steps_;
};

}  // namespace

std::vector<nic_step> plan_nic(const nic_state& state, const nic_request& request) {
    return planner(state, request).make();
}

}  // namespace sluice
