// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "nic_states.hpp"
#include "sluice/nic.hpp"

namespace {

std::vector<std::string> commands(const std::vector<sluice::nic_step>& steps) {
    std::vector<std::string> list;
    for (const auto& step : steps) list.push_back(step.command);
    return list;
}

std::vector<std::string> undo_commands(const std::vector<sluice::nic_step>& steps) {
    std::vector<std::string> list;
    for (const auto& step : steps)
        if (step.undo) list.push_back(step.undo_command);
    return list;
}

using texts = std::vector<std::string>;

}  // namespace

TEST_SUITE("nic plan") {
    TEST_CASE("nic plan: a fresh NIC") {
        const auto steps = sluice::plan_nic(nic_test::fresh(), nic_test::wanted());
        CHECK(commands(steps) == texts{"ethtool -G eth0 tcp-data-split on hds-thresh 0",
                                       "ethtool -X eth0 equal 3",
                                       "ethtool -N eth0 flow-type tcp4 dst-port 7000 action 3",
                                       "ethtool -N eth0 flow-type tcp6 dst-port 7000 action 3"});
        const auto back = undo_commands(steps);
        REQUIRE(back.size() == 4);
        CHECK(back[0] == "ethtool -G eth0 tcp-data-split auto hds-thresh 256");
        CHECK(back[1] == "ethtool -X eth0 default");
    }

    TEST_CASE("nic plan: a ready NIC has its split confirmed, with nothing to undo") {
        const auto steps = sluice::plan_nic(nic_test::ready(), nic_test::wanted());
        CHECK(commands(steps) == texts{"ethtool -G eth0 tcp-data-split on hds-thresh 0"});
        CHECK(undo_commands(steps).empty());
        auto bound = nic_test::ready();
        bound.queues[1].use = sluice::queue_use::io_uring;
        CHECK(sluice::plan_nic(bound, nic_test::wanted()).empty());
    }

    TEST_CASE("nic plan: queue 3 is the last one, which is the default") {
        auto r = nic_test::wanted();
        r.queues.clear();
        CHECK(commands(sluice::plan_nic(nic_test::fresh(), r)) ==
              commands(sluice::plan_nic(nic_test::fresh(), nic_test::wanted())));
    }

    TEST_CASE("nic plan: features before the split, in the driver's order") {
        auto s = nic_test::fresh();
        s.driver = "mlx5_core";
        s.ntuple = sluice::nic_feature{false, true};
        s.gro_hw = sluice::nic_feature{false, true};
        const auto list = commands(sluice::plan_nic(s, nic_test::wanted()));
        REQUIRE(list.size() > 3);
        CHECK(list[0] == "ethtool -K eth0 ntuple on");
        CHECK(list[1] == "ethtool -K eth0 rx-gro-hw on");
        CHECK(list[2].starts_with("ethtool -G"));
    }

    TEST_CASE("nic plan: more channels, and the RSS table after them") {
        auto r = nic_test::wanted();
        r.queues = {4, 5};
        const auto steps = sluice::plan_nic(nic_test::fresh(), r);
        const auto list = commands(steps);
        REQUIRE(list.size() == 6);
        CHECK(list[1] == "ethtool -L eth0 combined 6");
        CHECK(list[2] == "ethtool -X eth0 equal 4");
        CHECK(list[3] == "ethtool -X eth0 context new start 4 equal 2");
        CHECK(undo_commands(steps)[1] == "ethtool -L eth0 combined 4");
    }

    TEST_CASE("nic plan: a queue in the middle, and a table of one's own") {
        auto s = nic_test::fresh();
        s.indirection[0] = 1;
        auto r = nic_test::wanted();
        r.queues = {1};
        const auto steps = sluice::plan_nic(s, r);
        CHECK(steps[1].command == "ethtool -X eth0 weight 1 0 1 1");
        REQUIRE(steps[1].undo.has_value());
        CHECK(steps[1].undo->values ==
              std::vector<std::uint64_t>(s.indirection.begin(), s.indirection.end()));
    }

    TEST_CASE("nic plan: a context that is there is used and left") {
        auto s = nic_test::fresh();
        auto r = nic_test::wanted();
        r.queues = {2, 3};
        CHECK(sluice::plan_nic(s, r).size() == 5);
        sluice::nic_context context;
        context.id = 1;
        for (unsigned i = 0; i < 128; ++i) context.table.push_back(2 + i % 2);
        s.contexts.push_back(context);
        CHECK(sluice::plan_nic(s, r).size() == 4);
    }

    TEST_CASE("nic plan: NAPIs and interrupts") {
        auto r = nic_test::wanted();
        r.port.reset();
        r.queues = {2, 3};
        r.irq_cpus = {6, 7};
        r.defer_hard_irqs = 2;
        const auto steps = sluice::plan_nic(nic_test::fresh(), r);
        REQUIRE(steps.size() == 6);
        CHECK(steps[2].set.values == std::vector<std::uint64_t>{2, 2, 0});
        CHECK(steps[2].undo->values == std::vector<std::uint64_t>{2, 0, 0});
        CHECK(steps[5].command == "echo 7 >/proc/irq/43/smp_affinity_list");
        CHECK(steps[5].undo_command == "echo 0-7 >/proc/irq/43/smp_affinity_list");
    }

    TEST_CASE("nic plan: nothing that can't be is tried") {
        sluice::nic_state virtual_one;
        virtual_one.interface = "lo";
        virtual_one.queues.resize(1);
        auto r = nic_test::wanted();
        r.queues.clear();
        CHECK(sluice::plan_nic(virtual_one, r).empty());
    }

    TEST_CASE("nic plan: what was done is not planned again") {
        auto s = nic_test::fresh();
        const auto r = nic_test::wanted();
        // The state that the steps lead to.
        auto done = nic_test::ready();
        CHECK(sluice::plan_nic(s, r).size() == 4);
        CHECK(sluice::plan_nic(done, r).size() == 1);
    }
}
