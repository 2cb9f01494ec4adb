// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>

#include "nic_states.hpp"
#include "sluice/nic.hpp"

namespace {

using sluice::nic_verdict;

sluice::nic_requirement judge(const sluice::nic_state& s, const std::string& name,
                              const sluice::nic_request& r = nic_test::wanted()) {
    const auto all = sluice::check_nic(s, r);
    const auto found = std::find_if(
        all.begin(), all.end(), [&](const sluice::nic_requirement& q) { return q.name == name; });
    REQUIRE(found != all.end());
    return *found;
}

bool holds(const std::string& text, const char* words) {
    return text.find(words) != std::string::npos;
}

}  // namespace

TEST_SUITE("nic check") {
    TEST_CASE("nic check: what is ready is all there") {
        for (const auto& r : sluice::check_nic(nic_test::ready(), nic_test::wanted())) {
            CAPTURE(r.name);
            CAPTURE(r.why);
            CHECK(r.verdict == nic_verdict::have);
        }
    }

    TEST_CASE("nic check: what a fresh NIC lacks can be mended, each by a command") {
        unsigned missing = 0;
        for (const auto& r : sluice::check_nic(nic_test::fresh(), nic_test::wanted())) {
            CAPTURE(r.name);
            CHECK(r.verdict != nic_verdict::cannot);
            if (r.verdict != nic_verdict::missing) continue;
            ++missing;
            CHECK(holds(r.remedy, "ethtool -"));
        }
        CHECK(missing == 4);  // split, its threshold, RSS, steering
    }

    TEST_CASE("nic check: kernel") {
        auto s = nic_test::ready();
        s.kernel = "6.14.2-amd64";
        CHECK(judge(s, "kernel").verdict == nic_verdict::cannot);
        s.kernel = "6.15.0";
        CHECK(judge(s, "kernel").verdict == nic_verdict::have);
        CHECK(holds(judge(s, "kernel").why, "CVE-2026-43121"));
        s.kernel = "7.0.1";
        CHECK_FALSE(holds(judge(s, "kernel").why, "CVE"));
        s.kernel = "";
        CHECK(judge(s, "kernel").verdict == nic_verdict::cannot);
    }

    TEST_CASE("nic check: privilege and locked memory") {
        auto s = nic_test::ready();
        s.net_admin = false;
        CHECK(judge(s, "privilege").verdict == nic_verdict::cannot);
        CHECK(holds(judge(s, "privilege").remedy, "setcap"));
        s.lockable_bytes = 8 << 20;
        CHECK(judge(s, "locked memory").verdict == nic_verdict::cannot);
        CHECK(holds(judge(s, "locked memory").remedy, "ulimit -l 65536"));
    }

    TEST_CASE("nic check: drivers") {
        auto s = nic_test::ready();
        s.driver = "virtio_net";
        CHECK(judge(s, "driver").verdict == nic_verdict::cannot);
        s.driver = "newnic";
        CHECK(judge(s, "driver").verdict == nic_verdict::have);
        CHECK(holds(judge(s, "driver").why, "shows when a queue is bound"));
        s.split = sluice::header_split::unsupported;
        CHECK(judge(s, "driver").verdict == nic_verdict::cannot);
        s.has_device = false;
        CHECK(holds(judge(s, "driver").why, "virtual interface"));
    }

    TEST_CASE("nic check: XDP") {
        auto s = nic_test::ready();
        s.xdp = true;
        CHECK(judge(s, "no XDP").verdict == nic_verdict::cannot);
        CHECK(judge(s, "no XDP").remedy == "ip link set dev eth0 xdp off");
    }

    TEST_CASE("nic check: queues that are taken, by whom") {
        auto s = nic_test::ready();
        s.queues[2].use = sluice::queue_use::io_uring;  // another's
        CHECK(judge(s, "queues").verdict == nic_verdict::have);
        const std::pair<sluice::queue_use, const char*> uses[] = {
            {sluice::queue_use::io_uring, "bound by io_uring"},
            {sluice::queue_use::dma_buf, "bound by a dma-buf"},
            {sluice::queue_use::af_xdp, "bound by an AF_XDP socket"},
            {sluice::queue_use::leased, "leased to a virtual device"}};
        for (const auto& [use, words] : uses) {
            s.queues[3].use = use;
            CHECK(judge(s, "queues").verdict == nic_verdict::cannot);
            CHECK(holds(judge(s, "queues").why, words));
        }
    }

    TEST_CASE("nic check: queues that are not there") {
        auto s = nic_test::ready();
        auto r = nic_test::wanted();
        r.queues = {5};
        CHECK(judge(s, "queues", r).verdict == nic_verdict::missing);
        CHECK(judge(s, "queues", r).remedy == "ethtool -L eth0 combined 6");
        r.queues = {8};
        CHECK(judge(s, "queues", r).verdict == nic_verdict::cannot);
        r.queues = {0, 1, 2, 3};
        CHECK(judge(s, "queues", r).verdict == nic_verdict::cannot);
        CHECK(holds(judge(s, "queues", r).why, "no queue is left"));
    }

    TEST_CASE("nic check: header split and its threshold") {
        auto s = nic_test::ready();
        s.split = sluice::header_split::automatic;
        CHECK(judge(s, "header split").verdict == nic_verdict::missing);
        CHECK(holds(judge(s, "header split").why, "explicitly"));
        s.split = sluice::header_split::off;
        CHECK(judge(s, "header split").verdict == nic_verdict::missing);
        s.split = sluice::header_split::unsupported;
        s.driver = "newnic";
        CHECK(judge(s, "header split").verdict == nic_verdict::cannot);
        s.split_threshold = 1;
        CHECK(judge(s, "split threshold").verdict == nic_verdict::missing);
        s.split_threshold.reset();
        CHECK(judge(s, "split threshold").verdict == nic_verdict::have);
    }

    TEST_CASE("nic check: hardware GRO where the driver wants it") {
        auto s = nic_test::ready();
        s.driver = "mlx5_core";
        s.gro_hw = sluice::nic_feature{false, true};
        CHECK(judge(s, "hardware GRO").verdict == nic_verdict::missing);
        s.gro_hw->on = true;
        CHECK(judge(s, "hardware GRO").verdict == nic_verdict::have);
        s.gro_hw.reset();
        CHECK(judge(s, "hardware GRO").verdict == nic_verdict::cannot);
    }

    TEST_CASE("nic check: RSS") {
        auto s = nic_test::ready();
        s.indirection[77] = 3;
        CHECK(judge(s, "RSS").verdict == nic_verdict::missing);
        CHECK(judge(s, "RSS").remedy == "ethtool -X eth0 equal 3");
    }

    TEST_CASE("nic check: flow rules and steering") {
        auto s = nic_test::ready();
        s.ntuple = sluice::nic_feature{false, true};
        CHECK(judge(s, "flow rules").verdict == nic_verdict::missing);
        s.ntuple->changeable = false;
        CHECK(judge(s, "flow rules").verdict == nic_verdict::cannot);
        s.ntuple.reset();
        CHECK(judge(s, "flow rules").verdict == nic_verdict::cannot);
        s = nic_test::ready();
        s.rules.pop_back();  // IPv4 alone
        CHECK(judge(s, "steering").verdict == nic_verdict::missing);
        s.rules[0].queue = 1;
        s.rules[0].location = 17;
        CHECK(judge(s, "steering").verdict == nic_verdict::cannot);
        CHECK(holds(judge(s, "steering").why, "location 17"));
    }

    TEST_CASE("nic check: several queues are led to by a context") {
        auto s = nic_test::ready();
        auto r = nic_test::wanted();
        r.queues = {2, 3};
        CHECK(judge(s, "steering", r).verdict == nic_verdict::cannot);  // the rules lead to 3 alone
        sluice::nic_context context;
        context.id = 5;
        for (unsigned i = 0; i < 128; ++i) context.table.push_back(2 + i % 2);
        s.contexts.push_back(context);
        for (auto& rule : s.rules) {
            rule.context = 5;
            rule.queue = 0;
        }
        CHECK(judge(s, "steering", r).verdict == nic_verdict::have);
    }

    TEST_CASE("nic check: interrupts") {
        auto s = nic_test::ready();
        auto r = nic_test::wanted();
        r.irq_cpus = {6};
        CHECK(judge(s, "interrupts", r).verdict == nic_verdict::missing);
        CHECK(judge(s, "interrupts", r).remedy == "echo 6 >/proc/irq/43/smp_affinity_list");
        s.queues[3].irq_cpus = "6";
        CHECK(judge(s, "interrupts", r).verdict == nic_verdict::have);
    }
}
