// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace sluice_load {

/// "512", "64k", "64KiB", "1m", "2g": suffixes are powers of 1024, in either case. Empty when the
/// text is anything else or the value does not fit.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// "250us", "500ms", "5s", "2m", "1h", with an optional fraction ("0.5s"); a bare number means
/// seconds. Empty when the text is anything else, negative, or longer than a year.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// "0", "0-3", "0,2-3": processor numbers below 1024, in the order given. Empty when malformed.
std::optional<std::vector<int>> parse_cpu_list(std::string_view text);

}  // namespace sluice_load
