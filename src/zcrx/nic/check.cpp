// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "sluice/nic.hpp"
#include "zcrx/nic/target.hpp"

namespace sluice {

namespace {

using verdict = nic_verdict;

class checker {
public:
    checker(const nic_state& state, const nic_request& request)
        : s_(state), r_(request), target_(detail::target_of(state, request)) {}

    std::vector<nic_requirement> all() {
        kernel();
        privilege();
        memory();
        driver();
        xdp();
        queues();
        if (detail::wants_gro_hw(s_)) gro();
        split();
        threshold();
        rss();
        ntuple();
        if (!detail::rules_of(r_).empty()) steering();
        if (!r_.irq_cpus.empty()) interrupts();
        return std::move(found_);
    }

private:
    void say(const char* name, verdict v, std::string why, std::string remedy = {}) {
        found_.push_back({name, v, std::move(why), std::move(remedy)});
    }
    std::string ethtool(const std::string& arguments) const { return "ethtool " + arguments; }

    void kernel() {
        int major = 0;
        int minor = 0;
        if (std::sscanf(s_.kernel.c_str(), "%d.%d", &major, &minor) != 2)
            return say("kernel", verdict::cannot, "its release '" + s_.kernel + "' says no version",
                       "a kernel from 6.15 on");
        const int version = major * 1000 + minor;
        if (version < 6015)
            return say("kernel", verdict::cannot,
                       s_.kernel + " is too old: io_uring receives without copies from 6.15 on",
                       "boot a kernel from 6.15 on, better 7.0");
        if (version < 7000)
            return say("kernel", verdict::have,
                       s_.kernel + "; below 7.0 ask whether it has the mend of CVE-2026-43121 (a "
                                   "buffer freed twice)");
        say("kernel", verdict::have, s_.kernel);
    }

    void privilege() {
        if (s_.net_admin) return say("privilege", verdict::have, "CAP_NET_ADMIN");
        say("privilege", verdict::cannot,
            "this process lacks CAP_NET_ADMIN, which setting the NIC and binding a queue want",
            "run as root, or setcap cap_net_admin+ep PROGRAM");
    }

    void memory() {
        if (s_.lockable_bytes >= r_.locked_bytes)
            return say("locked memory", verdict::have, "the limit allows the areas");
        const std::string kib = std::to_string(r_.locked_bytes / 1024);
        say("locked memory", verdict::cannot,
            "RLIMIT_MEMLOCK is " + std::to_string(s_.lockable_bytes / 1024) +
                " KiB, the areas need " + kib,
            "ulimit -l " + kib + ", LimitMEMLOCK= in a systemd unit, or CAP_IPC_LOCK");
    }

    void driver() {
        const std::string name =
            s_.driver.empty()
                ? "an unnamed driver"
                : s_.driver + (s_.firmware.empty() ? "" : ", firmware " + s_.firmware);
        switch (detail::known_driver(s_)) {
            case detail::driver_kind::works:
                return say("driver", verdict::have,
                           name + (s_.driver == "bnxt_en"
                                       ? "; its firmware has to be 230.x or newer, on a physical "
                                         "function"
                                       : ""));
            case detail::driver_kind::cannot:
                return say(
                    "driver", verdict::cannot,
                    s_.has_device ? name + " has no queue operations for zero-copy receive"
                                  : name + ": " + s_.interface +
                                        " is a virtual interface, no device fills memory",
                    "a NIC of bnxt_en, mlx5_core, gve or fbnic; or sluice's device-less mode");
            case detail::driver_kind::unknown: break;
        }
        if (s_.split == header_split::unsupported)
            return say("driver", verdict::cannot,
                       name + " is not known to have queue operations, and splits no headers",
                       "a NIC of bnxt_en, mlx5_core, gve or fbnic; or sluice's device-less mode");
        say("driver", verdict::have,
            name + " splits headers; whether it has queue operations shows when a queue is bound");
    }

    void xdp() {
        if (!s_.xdp) return say("no XDP", verdict::have, "no program is attached");
        say("no XDP", verdict::cannot, "an XDP program is attached to " + s_.interface,
            "ip link set dev " + s_.interface + " xdp off");
    }

    void queues() {
        const std::string list = detail::list_of(target_.queues);
        const unsigned there = s_.rx_queues();
        if (target_.queues.back() >= target_.channels)
            return say("queues", verdict::cannot,
                       "there is no queue " + std::to_string(target_.queues.back()) + " of " +
                           s_.interface + ": it has " + std::to_string(there),
                       "choose others with --queues");
        if (target_.others.empty())
            return say("queues", verdict::cannot,
                       "no queue is left for other traffic: zero-copy queues can't take it",
                       "choose fewer with --queues");
        for (const nic_queue& queue : s_.queues) {
            if (!target_.holds(queue.id) || queue.use == queue_use::host_memory) continue;
            return say("queues", verdict::cannot,
                       "queue " + std::to_string(queue.id) + " is " +
                           (queue.use == queue_use::leased
                                ? "leased to a virtual device"
                                : std::string("bound by ") + name_of(queue.use)) +
                           " already",
                       "end the program that has it (one that has just ended lets go within a "
                       "second), or choose others with --queues");
        }
        if (target_.channels > there)
            return say("queues", verdict::missing,
                       s_.interface + " has " + std::to_string(there) + " receive queues, queue " +
                           std::to_string(target_.queues.back()) + " needs more channels",
                       ethtool("-L " + s_.interface + " combined " +
                               std::to_string(s_.combined.value_or(0) + target_.channels - there)));
        say("queues", verdict::have,
            list + " of " + std::to_string(there) +
                (s_.queues.empty() ? "; who uses them the kernel does not tell" : ", free"));
    }

    void gro() {
        if (s_.gro_hw && s_.gro_hw->on) return say("hardware GRO", verdict::have, "on");
        if (s_.gro_hw && s_.gro_hw->changeable)
            return say("hardware GRO", verdict::missing,
                       "off; " + s_.driver + " wants it before it splits",
                       ethtool("-K " + s_.interface + " rx-gro-hw on"));
        say("hardware GRO", verdict::cannot, s_.driver + " wants it, and this NIC has none");
    }

    void split() {
        const std::string command = ethtool("-G " + s_.interface + " tcp-data-split on" +
                                            (s_.split_threshold ? " hds-thresh 0" : ""));
        switch (s_.split) {
            case header_split::on: return say("header split", verdict::have, "on");
            case header_split::off: return say("header split", verdict::missing, "off", command);
            case header_split::automatic:
                return say("header split", verdict::missing,
                           "left to the driver: the kernel wants it set explicitly", command);
            case header_split::unsupported: break;
        }
        if (detail::known_driver(s_) == detail::driver_kind::works)
            return say("header split", verdict::missing, "not set explicitly", command);
        say("header split", verdict::cannot, "the driver does not offer tcp-data-split");
    }

    void threshold() {
        if (s_.split_threshold.value_or(0) == 0)
            return say("split threshold", verdict::have,
                       s_.split_threshold ? "0" : "the driver has none");
        say("split threshold", verdict::missing,
            "hds-thresh is " + std::to_string(*s_.split_threshold) +
                ": short packets would not be split",
            ethtool("-G " + s_.interface + " hds-thresh 0"));
    }

    void rss() {
        const std::string list = detail::list_of(target_.queues);
        if (s_.indirection.empty())
            return say("RSS", s_.rx_queues() == 0 ? verdict::cannot : verdict::have,
                       s_.rx_queues() == 0
                           ? "no table of queues"
                           : "no table of queues: other traffic may reach queues " + list);
        const bool hit = target_.channels > s_.rx_queues() ||
                         std::any_of(s_.indirection.begin(), s_.indirection.end(),
                                     [&](std::uint32_t queue) { return target_.holds(queue); });
        if (!hit) return say("RSS", verdict::have, "it keeps off queues " + list);
        if (target_.indirection.empty())
            return say("RSS", verdict::cannot, "no queue is left for other traffic",
                       "choose fewer with --queues");
        say("RSS", verdict::missing,
            "it spreads other traffic over queues " + list +
                ", where only zero-copy sockets can read it",
            command(nic_setting::kind::indirection));
    }

    void ntuple() {
        if (!s_.ntuple)
            return say("flow rules", verdict::cannot,
                       "the NIC has no ntuple filters: connections can't be led to the queues",
                       "steer by RSS alone, or use another NIC");
        if (s_.ntuple->on) return say("flow rules", verdict::have, "ntuple filters are on");
        if (s_.ntuple->changeable)
            return say("flow rules", verdict::missing, "ntuple filters are off",
                       ethtool("-K " + s_.interface + " ntuple on"));
        say("flow rules", verdict::cannot, "ntuple filters are off and fixed");
    }

    void steering() {
        std::string ports;
        const detail::rule_match* missing = nullptr;
        const auto wanted = detail::rules_of(r_);
        for (const detail::rule_match& match : wanted) {
            const std::string port = port_of(match);
            if (!match.ipv6) ports += (ports.empty() ? "" : ", ") + port;
            switch (detail::find_rule(s_, target_, match)) {
                case detail::rule_state::right: break;
                case detail::rule_state::absent: missing = &match; break;
                case detail::rule_state::elsewhere:
                    return say("steering", verdict::cannot,
                               "a rule leads " + port + " elsewhere: " + rules_of(match),
                               ethtool("-N " + s_.interface + " delete LOCATION"));
            }
        }
        const std::string list = detail::list_of(target_.queues);
        if (missing == nullptr)
            return say("steering", verdict::have, ports + " is led to queues " + list);
        say("steering", s_.ntuple ? verdict::missing : verdict::cannot,
            "no rule leads " + port_of(*missing) + " to queues " + list,
            s_.ntuple ? command(nic_setting::kind::rule) : "");
    }

    void interrupts() {
        for (const nic_step& step : plan_)
            if (step.set.what == nic_setting::kind::irq_affinity)
                return say("interrupts", verdict::missing, "other CPUs than asked for",
                           step.command);
        say("interrupts", verdict::have, "as asked for, or the driver tells no interrupts");
    }

    static std::string port_of(const detail::rule_match& match) {
        return (match.of_peer ? "the peer's port " : "port ") + std::to_string(match.port);
    }

    std::string rules_of(const detail::rule_match& match) const {
        std::string text;
        for (const nic_rule& rule : s_.rules)
            if (detail::match_of(rule) == match)
                text += (text.empty() ? "" : ", ") + ("location " + std::to_string(rule.location));
        return text;
    }

    //! The plan's command of a kind.
    std::string command(nic_setting::kind kind) const {
        for (const nic_step& step : plan_)
            if (step.set.what == kind) return step.command;
        return {};
    }

    const nic_state& s_;
    const nic_request& r_;
    const detail::nic_target target_;
    const std::vector<nic_step> plan_ = plan_nic(s_, r_);  // that the remedies are of
    std::vector<nic_requirement> found_;
};

}  // namespace

std::vector<nic_requirement> check_nic(const nic_state& state, const nic_request& request) {
    return checker(state, request).all();
}

const char* name_of(queue_use use) noexcept {
    switch (use) {
        case queue_use::io_uring: return "io_uring";
        case queue_use::dma_buf: return "a dma-buf";
        case queue_use::af_xdp: return "an AF_XDP socket";
        case queue_use::leased: return "a lease";
        case queue_use::host_memory: break;
    }
    return "nobody";
}

const char* name_of(nic_verdict verdict) noexcept {
    switch (verdict) {
        case nic_verdict::have: return "have";
        case nic_verdict::missing: return "missing";
        case nic_verdict::cannot: break;
    }
    return "cannot";
}

}  // namespace sluice
