// SPDX-License-Identifier: Apache-2.0
#include "sluice/cpu_set.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <sstream>
#include <string>

#include "runtime/kernel/process.hpp"

namespace sluice {

namespace {

constexpr unsigned most_cpus = 4096;

std::optional<unsigned> parse_number(std::string_view text) {
    unsigned value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || failed != std::errc{} || end != text.data() + text.size() ||
        value >= most_cpus)
        return std::nullopt;
    return value;
}

// "max 100000" or "150000 100000": microseconds of CPU time in a period of so many.
std::optional<double> quota_of(const std::string& line) {
    std::istringstream in(line);
    double quota = 0;
    double period = 0;
    if (!(in >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
    return quota / period;
}

std::optional<double> cpu_quota() {
    if (const auto folder = detail::cgroup_folder()) {
        // A limit of any group above holds too; a file is missing where none can be set.
        std::optional<double> least;
        for (std::string at = *folder; at.size() >= std::string_view("/sys/fs/cgroup").size();
             at.resize(at.rfind('/')))
            if (const auto line = detail::first_line(at + "/cpu.max"))
                if (const auto quota = quota_of(*line))
                    least = std::min(least.value_or(1e9), *quota);
        if (least) return least;
    }
    const auto quota = detail::first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    const auto period = detail::first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!quota || !period) return std::nullopt;
    return quota_of(*quota + " " + *period);
}

}  // namespace

result<std::vector<unsigned>> parse_cpu_list(std::string_view text) {
    std::vector<unsigned> cpus;
    while (true) {
        const auto comma = text.find(',');
        const auto item = text.substr(0, comma);
        const auto dash = item.find('-');
        const auto first = parse_number(item.substr(0, dash));
        const auto last =
            dash == std::string_view::npos ? first : parse_number(item.substr(dash + 1));
        if (!first || !last || *last < *first) return errno_error(EINVAL);
        for (unsigned cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
        if (comma == std::string_view::npos) break;
        text.remove_prefix(comma + 1);
    }
    std::sort(cpus.begin(), cpus.end());
    cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
    return cpus;
}

std::vector<unsigned> usable_cpus() {
    auto allowed = detail::allowed_cpus();
    std::vector<unsigned> cpus = allowed ? std::move(*allowed) : std::vector<unsigned>{};
    if (cpus.empty()) cpus.push_back(0);
    if (const auto quota = cpu_quota()) {
        const auto paid = static_cast<std::size_t>(*quota) +
                          (*quota > static_cast<double>(static_cast<std::size_t>(*quota)) ? 1 : 0);
        if (paid < cpus.size()) cpus.resize(std::max<std::size_t>(paid, 1));
    }
    return cpus;
}

}  // namespace sluice
