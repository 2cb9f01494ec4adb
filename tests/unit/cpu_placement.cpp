// SPDX-License-Identifier: Apache-2.0
#include "sluice/cpu_placement.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "loopback/temporary_folder.hpp"

using sluice::cpu_location;
using sluice::irq_cpus_for;
using sluice::irq_place;
using cpus = std::vector<unsigned>;

namespace {

//! Two nodes of two cores with two hyperthreads each: CPU i and i + 4 are of one core, 0, 1, 4, 5
//! of node 0.
std::vector<cpu_location> two_nodes() {
    std::vector<cpu_location> all;
    for (unsigned cpu = 0; cpu < 8; ++cpu) {
        const int node = cpu % 4 < 2 ? 0 : 1;
        all.push_back({cpu, node, static_cast<int>(cpu % 2), node});
    }
    return all;
}

void write(const std::filesystem::path& path, const std::string& text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << '\n';
}

}  // namespace

TEST_SUITE("cpu placement") {
    TEST_CASE("irq: left alone, or on the reactor's CPU") {
        CHECK(irq_cpus_for({0, 1}, 1, irq_place::as_it_is, two_nodes()).empty());
        CHECK(irq_cpus_for({3, 1}, 1, irq_place::same_cpu, two_nodes()) == cpus{3, 1});
        // Two reactors a queue: the first of each two.
        CHECK(irq_cpus_for({0, 1, 2, 3}, 2, irq_place::same_cpu, two_nodes()) == cpus{0, 2});
        CHECK(irq_cpus_for({0, 1, 2}, 2, irq_place::same_cpu, two_nodes()) == cpus{0, 2});
    }

    TEST_CASE("irq: a neighbour is another core of the same node") {
        CHECK(irq_cpus_for({0}, 1, irq_place::neighbour, two_nodes()) == cpus{1});
        CHECK(irq_cpus_for({6}, 1, irq_place::neighbour, two_nodes()) == cpus{3});
        CHECK(irq_cpus_for({0, 2}, 1, irq_place::neighbour, two_nodes()) == cpus{1, 3});
    }

    TEST_CASE("irq: two queues take two hyperthreads before they share one") {
        // Cores 0 and 1 of node 0; the reactors are the threads of core 0.
        CHECK(irq_cpus_for({0, 4}, 1, irq_place::neighbour, two_nodes()) == cpus{1, 5});
    }

    TEST_CASE("irq: with a reactor on each core it is a hyperthread, and at last its own CPU") {
        CHECK(irq_cpus_for({0, 1}, 1, irq_place::neighbour, two_nodes()) == cpus{4, 5});
        CHECK(irq_cpus_for({0, 1, 4, 5}, 1, irq_place::neighbour, two_nodes()) == cpus{0, 1, 4, 5});
        // Never on the other node.
        CHECK(irq_cpus_for({0, 1, 4, 5, 2}, 1, irq_place::neighbour, two_nodes()).back() == 3);
    }

    TEST_CASE("irq: of a machine that is not known, the reactor's own CPU") {
        CHECK(irq_cpus_for({0, 9}, 1, irq_place::neighbour, {}) == cpus{0, 9});
    }

    TEST_CASE("cpu locations: from files") {
        const sluice::testing::temporary_folder root;
        const std::filesystem::path folder = root.path();
        CHECK(sluice::cpu_locations(folder.string()).empty());
        write(folder / "online", "0-1,8");
        for (const unsigned cpu : {0U, 1U, 8U}) {
            const auto its = folder / ("cpu" + std::to_string(cpu));
            write(its / "topology" / "physical_package_id", cpu == 8 ? "1" : "0");
            if (cpu != 1) write(its / "topology" / "core_id", "5");
            if (cpu != 1) std::filesystem::create_directories(its / (cpu == 8 ? "node3" : "node0"));
        }
        const auto found = sluice::cpu_locations(folder.string());
        REQUIRE(found.size() == 3);
        CHECK(found[0].core == 5);
        CHECK(found[0].node == 0);
        CHECK(found[1].core == 1);  // its own number
        CHECK(found[1].node == -1);
        CHECK(found[2].cpu == 8);
        CHECK(found[2].package == 1);
        CHECK(found[2].node == 3);
    }

    TEST_CASE("cpu locations: of this machine") {
        for (const cpu_location& l : sluice::cpu_locations()) CHECK(l.core >= -1);
    }
}
