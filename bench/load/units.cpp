// SPDX-License-Identifier: Apache-2.0
#include "units.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

namespace sluice_load {

namespace {

constexpr int cpu_limit = 1024;

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

template <typename Number>
std::optional<Number> parse_all(std::string_view text) {
    Number value{};
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stopped != end) return std::nullopt;
    return value;
}

std::optional<unsigned> size_shift(const std::string& suffix) {
    if (suffix.empty() || suffix == "b") return 0;
    if (suffix == "k" || suffix == "kib") return 10;
    if (suffix == "m" || suffix == "mib") return 20;
    if (suffix == "g" || suffix == "gib") return 30;
    return std::nullopt;
}

std::optional<double> unit_seconds(const std::string& suffix) {
    static constexpr std::array<std::pair<std::string_view, double>, 7> units{{{"", 1.0},
                                                                               {"ns", 1e-9},
                                                                               {"us", 1e-6},
                                                                               {"ms", 1e-3},
                                                                               {"s", 1.0},
                                                                               {"m", 60.0},
                                                                               {"h", 3600.0}}};
    for (const auto& [name, seconds] : units) {
        if (suffix == name) return seconds;
    }
    return std::nullopt;
}

std::size_t number_length(std::string_view text, std::string_view allowed) {
    const auto end = text.find_first_not_of(allowed);
    return end == std::string_view::npos ? text.size() : end;
}

bool append_range(std::string_view part, std::vector<int>& out) {
    const auto dash = part.find('-');
    const auto first = parse_all<int>(part.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : parse_all<int>(part.substr(dash + 1));
    if (!first || !last || *first < 0 || *last < *first || *last >= cpu_limit) return false;
    for (int cpu = *first; cpu <= *last; ++cpu) out.push_back(cpu);
    return true;
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
    const auto digits = number_length(text, "0123456789");
    const auto value = parse_all<std::uint64_t>(text.substr(0, digits));
    const auto shift = size_shift(lower(text.substr(digits)));
    if (!value || !shift) return std::nullopt;
    if (*value > (std::numeric_limits<std::uint64_t>::max() >> *shift)) return std::nullopt;
    return *value << *shift;
}

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
    constexpr double year_seconds = 365.0 * 86400.0;
    const auto digits = number_length(text, "0123456789.");
    const auto value = parse_all<double>(text.substr(0, digits));
    const auto unit = unit_seconds(lower(text.substr(digits)));
    if (!value || !unit || *value * *unit > year_seconds) return std::nullopt;
    return std::chrono::nanoseconds(std::llround(*value * *unit * 1e9));
}

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
    std::vector<int> cpus;
    for (;;) {
        const auto comma = text.find(',');
        if (!append_range(text.substr(0, comma), cpus)) return std::nullopt;
        if (comma == std::string_view::npos) return cpus;
        text.remove_prefix(comma + 1);
    }
}

}  // namespace sluice_load
