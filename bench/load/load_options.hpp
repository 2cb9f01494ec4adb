// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice_load {

enum class load_mode : std::uint8_t {
    echo,    ///< send messages, check that every byte comes back
    source,  ///< only send
    sink,    ///< only receive
    churn,   ///< connect, echo, close, over and over
};

const char* to_string(load_mode mode);

/// What the user asked for, defaults filled in. A count of 0 means "no such limit".
struct load_options {
    std::string host = "127.0.0.1";
    std::uint16_t port = 7777;
    load_mode mode = load_mode::echo;
    std::uint64_t connections = 1;
    unsigned threads = 1;
    std::uint64_t message_size = 64;
    std::uint64_t depth = 1;
    std::chrono::nanoseconds duration = std::chrono::seconds(5);
    std::uint64_t messages = 0;
    std::uint64_t cycles = 0;
    std::uint64_t max_bytes = 0;
    double connect_rate = 0.0;
    std::uint64_t connect_parallel = 256;
    std::chrono::nanoseconds timeout = std::chrono::seconds(10);
    bool spread_sources = false;
    bool half_close = false;
    bool no_verify = false;
    std::uint64_t seed = 1;
    std::vector<int> cpus;
    std::optional<std::string> json;  ///< "-" for standard output
    bool quiet = false;

    [[nodiscard]] bool echoes() const {
        return mode == load_mode::echo || mode == load_mode::churn;
    }
    [[nodiscard]] bool sends() const { return mode != load_mode::sink; }
    /// Whether every byte that comes is compared with what was sent.
    [[nodiscard]] bool verifies() const { return echoes() && !no_verify; }
};

/// Reads the command line. Prints --help and exits with 0 if asked to; throws fatal_error with
/// exit code 2 for options that are unknown, malformed or contradict each other.
load_options parse_options(int argc, char** argv);

}  // namespace sluice_load
