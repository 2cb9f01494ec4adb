// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace sluice_load {

/// What the report counts separately.
enum class failure_kind : std::uint8_t {
    connect,
    verification,
    reset,
    early_close,
    timeout,
    other,
};

inline constexpr std::size_t failure_kind_count = 6;

inline const char* to_string(failure_kind kind) {
    static constexpr std::array<const char*, failure_kind_count> names{
        "connect", "verification", "reset", "early_close", "timeout", "other"};
    return names.at(static_cast<std::size_t>(kind));
}

/// Something that went wrong on a connection, in words a user can act on.
struct failure {
    failure_kind kind = failure_kind::other;
    std::uint64_t connection = 0;
    std::string cause;
    std::string remedy;
    std::chrono::steady_clock::time_point when{};
};

/// Ends the program before any load is made: exit_code 2 for wrong options, 1 for the rest.
class fatal_error : public std::runtime_error {
public:
    explicit fatal_error(const std::string& cause_and_remedy, int exit_code = 1)
        : std::runtime_error(cause_and_remedy), exit_code_(exit_code) {}

    [[nodiscard]] int exit_code() const { return exit_code_; }

private:
    int exit_code_;
};

}  // namespace sluice_load
