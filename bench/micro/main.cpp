// SPDX-License-Identifier: Apache-2.0
/// What single operations cost, in turns: each round does every operation of every contestant once.
/// Prints a line of JSON for each with the figures of all rounds.
///
/// usage: sluice-micro [ROUNDS [PART OF A NAME]]
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "measure.hpp"

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
    const std::string_view wanted = argc > 2 ? argv[2] : "";
    if (rounds < 1) {
        std::fprintf(stderr, "usage: sluice-micro [ROUNDS [PART OF A NAME]]\n");
        return 2;
    }
    std::vector<micro::operation> all;
    micro::add_sluice_tasks(all);
    micro::add_sluice_parts(all);
    micro::add_sluice_net(all);
    micro::add_asio(all);
    std::erase_if(all, [&](const micro::operation& one) {
        return one.name.find(wanted) == std::string::npos;
    });
    std::vector<std::vector<double>> figures(all.size());
    for (const auto& one : all) one.ns_each();  // warms up
    for (int round = 0; round < rounds; ++round)
        for (std::size_t i = 0; i < all.size(); ++i) figures[i].push_back(all[i].ns_each());
    for (std::size_t i = 0; i < all.size(); ++i) {
        for (const double each : figures[i]) {
            if (each > 0) continue;
            std::fprintf(stderr, "%s (%s) did not do what it should\n", all[i].name.c_str(),
                         all[i].contestant.c_str());
            return 1;
        }
        std::printf(R"({"operation": "%s", "contestant": "%s", "ns": [)", all[i].name.c_str(),
                    all[i].contestant.c_str());
        for (std::size_t k = 0; k < figures[i].size(); ++k)
            std::printf("%s%.2f", k == 0 ? "" : ", ", figures[i][k]);
        std::printf("]}\n");
    }
    return 0;
}
