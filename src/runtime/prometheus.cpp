// SPDX-License-Identifier: Apache-2.0
#include "runtime/prometheus.hpp"

#include <spdlog/fmt/fmt.h>

#include <cmath>

namespace sluice::detail {

namespace {

std::string escaped(std::string_view text, bool quotes) {
    std::string out;
    for (const char c : text) {
        if (c == '\\')
            out += "\\\\";
        else if (c == '\n')
            out += "\\n";
        else if (c == '"' && quotes)
            out += "\\\"";
        else
            out += c;
    }
    return out;
}

}  // namespace

std::string prometheus_label(std::string_view value) { return escaped(value, true); }

std::string prometheus_number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
    return fmt::format("{}", value);
}

void prometheus_family(std::string& to, std::string_view name, std::string_view help,
                       std::string_view type) {
    to += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, escaped(help, false), name, type);
}

}  // namespace sluice::detail
