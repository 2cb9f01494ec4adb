// SPDX-License-Identifier: Apache-2.0
#include "zcrx/nic/journal.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include <nlohmann/json.hpp>

namespace sluice::detail {

namespace {

constexpr std::string_view format = "sluice-nic-journal";
constexpr int version = 1;

// In the order of nic_setting::kind, with the least number of values each.
struct kind_name {
    std::string_view name;
    std::size_t least_values;
};
constexpr std::array<kind_name, 10> kinds{{{"feature", 1},
                                           {"split", 1},
                                           {"channels", 1},
                                           {"indirection", 0},
                                           {"context", 1},
                                           {"context-gone", 1},
                                           {"rule", 3},
                                           {"rule-gone", 3},
                                           {"napi", 3},
                                           {"irq-affinity", 1}}};

nic_setting setting_from(const nlohmann::json& j) {
    const auto& name = j.at("kind").get_ref<const std::string&>();
    const auto known = std::find_if(kinds.begin(), kinds.end(),
                                    [&](const kind_name& k) { return k.name == name; });
    if (known == kinds.end()) throw std::invalid_argument("an unknown kind of setting");
    nic_setting s{static_cast<nic_setting::kind>(known - kinds.begin()),
                  j.at("name").get<std::string>(),
                  j.at("values").get<std::vector<std::uint64_t>>()};
    if (s.values.size() < known->least_values) throw std::invalid_argument("a value is missing");
    return s;
}

}  // namespace

std::string to_text(const nic_journal& journal) {
    nlohmann::json j{{"format", format},
                     {"version", version},
                     {"interface", journal.interface},
                     {"driver", journal.driver},
                     {"boot_id", journal.boot_id},
                     {"undo", nlohmann::json::array()}};
    for (const auto& e : journal.entries)
        j["undo"].push_back({{"kind", kinds[static_cast<std::size_t>(e.undo.what)].name},
                             {"name", e.undo.name},
                             {"values", e.undo.values},
                             {"command", e.command}});
    return j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

nic_result<nic_journal> parse_journal(const std::string& text, const std::string& path) {
    try {
        const auto j = nlohmann::json::parse(text);
        if (!j.is_object() || j.value("format", "") != format)
            return nic_failure{path + " is no journal of sluice-nic: name another with --journal"};
        if (j.at("version") != version)
            return nic_failure{path + " is of another version of sluice: restore with that one"};
        nic_journal journal{j.at("interface"), j.at("driver"), j.at("boot_id"), {}};
        for (const auto& e : j.at("undo"))
            journal.entries.push_back({setting_from(e), e.at("command").get<std::string>()});
        return journal;
    } catch (const std::exception&) {
        return nic_failure{path + " is damaged or no journal: put the NIC's settings back by hand, "
                                  "then remove the file"};
    }
}

}  // namespace sluice::detail
