// SPDX-License-Identifier: Apache-2.0
//! Pieces of Prometheus' text format 0.0.4.
#pragma once

#include <string>
#include <string_view>

namespace sluice::detail {

//! A label's value, escaped.
std::string prometheus_label(std::string_view value);

//! The shortest text that reads back as `value`; NaN, +Inf and -Inf.
std::string prometheus_number(double value);

//! Appends the HELP and TYPE lines.
void prometheus_family(std::string& to, std::string_view name, std::string_view help,
                       std::string_view type);

}  // namespace sluice::detail
