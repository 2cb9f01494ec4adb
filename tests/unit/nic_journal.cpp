// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include "nic_states.hpp"
#include "zcrx/nic/journal.hpp"

namespace {

using sluice::detail::nic_journal;
using sluice::detail::parse_journal;

//! With an entry of each kind.
nic_journal sample() {
    nic_journal j{"eth0", "bnxt_en", "11-22", {}};
    for (int kind = 0; kind < 10; ++kind)
        j.entries.push_back({{static_cast<sluice::nic_setting::kind>(kind), "n", {1, 7000, 3}},
                             "ethtool \"quoted\" \\ and more"});
    return j;
}

}  // namespace

TEST_SUITE("nic journal") {
    TEST_CASE("nic journal: what was written is read") {
        const auto read = parse_journal(to_text(sample()), "j");
        REQUIRE(read.has_value());
        CHECK(*read == sample());
        const nic_journal empty{"eth0", "", "", {}};
        REQUIRE(parse_journal(to_text(empty), "j").has_value());
        CHECK(*parse_journal(to_text(empty), "j") == empty);
    }

    TEST_CASE("nic journal: torn at any byte it is refused") {
        const std::string text = to_text(sample());
        // Without its last line break it is complete.
        for (std::size_t bytes = 0; bytes + 1 < text.size(); ++bytes) {
            CAPTURE(bytes);
            const auto read = parse_journal(text.substr(0, bytes), "j");
            REQUIRE_FALSE(read.has_value());
            CHECK(read.error().message.find("damaged") != std::string::npos);
        }
    }

    TEST_CASE("nic journal: what is none is told") {
        const std::pair<std::string, const char*> texts[] = {
            {"{}", "no journal of"},
            {"[]", "no journal of"},
            {"7", "no journal of"},
            {R"({"format": "other"})", "no journal of"},
            {R"({"format": 7})", "damaged"},
            {R"({"format": "sluice-nic-journal"})", "damaged"},
            {R"({"format": "sluice-nic-journal", "version": 2})", "another version"},
            {R"({"format": "sluice-nic-journal", "version": 1, "interface": "e", "driver": "",
                "boot_id": "", "undo": [{"kind": "rocket", "name": "", "values": [], "command": ""}]})",
             "damaged"},
            {R"({"format": "sluice-nic-journal", "version": 1, "interface": "e", "driver": "",
                "boot_id": "", "undo": [{"kind": "rule", "name": "", "values": [1], "command": ""}]})",
             "damaged"}};
        for (const auto& [text, words] : texts) {
            CAPTURE(text);
            const auto read = parse_journal(text, "j");
            REQUIRE_FALSE(read.has_value());
            CHECK(read.error().message.find(words) != std::string::npos);
        }
    }
}
