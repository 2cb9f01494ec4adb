// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <CLI/CLI.hpp>
#include <sluice/cpu_set.hpp>
#include <sluice/log.hpp>
#include <sluice/version.hpp>

namespace echo {

namespace {

constexpr int usage_error = 2;

// Durations are written "500ms", "10s", "2m", or as a number of milliseconds.
constexpr std::int64_t longest_ms = std::int64_t{365} * 24 * 3600 * 1000;
const std::map<std::string, std::int64_t> time_units{{"ms", 1}, {"s", 1000}, {"m", 60'000}};

CLI::Option* add_duration(CLI::App& app, const std::string& name, std::chrono::milliseconds& to,
                          const std::string& help) {
    return app
        .add_option_function<std::int64_t>(
            name, [&to](const std::int64_t& ms) { to = std::chrono::milliseconds(ms); }, help)
        ->transform(
            CLI::AsNumberWithUnit(time_units, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
        ->check(CLI::Range(std::int64_t{0}, longest_ms));
}

}  // namespace

std::optional<options> parse(int argc, char** argv, int& exit_code) {
    options o;
    std::string cores;
    std::string address = "127.0.0.1";
    std::uint16_t port = 7777;
    bool no_pin = false;

    CLI::App app{"Sends back what it receives: one reactor, one io_uring and one listening socket "
                 "for each core."};
    app.set_version_flag("--version", std::string(sluice::version()));
    app.add_option("--cores", cores,
                   "CPUs to run a reactor on, such as 0-1,4 (default: all that "
                   "the process may use)");
    app.add_flag("--no-pin", no_pin, "leave the threads to the scheduler");
    app.add_option("--port", port, "TCP port; 0: the kernel chooses")->capture_default_str();
    app.add_option("--address", address, "numeric address; :: takes IPv6 and IPv4")
        ->capture_default_str();
    add_duration(app, "--stats", o.stats, "time between lines of statistics; 0: none (1s)");
    add_duration(app, "--idle-timeout", o.idle_timeout,
                 "close a connection after so long without data; 0: never (60s)");
    add_duration(app, "--drain-timeout", o.drain_timeout,
                 "after SIGINT or SIGTERM, how long connections may go on (5s)");
    app.add_option("--exit-after-messages", o.exit_after_messages,
                   "end after so many received chunks on all cores; 0: never")
        ->check(CLI::Range(std::int64_t{0}, INT64_MAX));
    app.add_option("--recv-buffers", o.reactor.recv_buffers, "provided buffers for each core")
        ->check(CLI::Range(1U, 32768U))
        ->capture_default_str();
    app.add_option("--buffer-size", o.reactor.recv_buffer_size, "bytes of a provided buffer")
        ->check(CLI::Range(64U, 1U << 30))
        ->capture_default_str();
    app.add_option("--max-connections", o.listen.max_connections,
                   "connections for each core; 0: as many as there are descriptors")
        ->capture_default_str();
    app.add_option("--max-pending", o.reactor.max_pending_bytes,
                   "bytes that may wait unread for a connection")
        ->check(CLI::Range(1U, 1U << 30))
        ->capture_default_str();
    app.add_option("--cq-entries", o.reactor.cq_entries, "completion queue of each core")
        ->check(CLI::Range(2U, 65536U))
        ->capture_default_str();
    app.add_flag("--registered-descriptors", o.reactor.registered_descriptors,
                 "keep sockets in the ring's own table");
    app.add_option("--log-level", o.log_level, "trace, debug, info, warning, error, critical, off")
        ->capture_default_str();

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        exit_code = app.exit(e) == 0 ? 0 : usage_error;
        return std::nullopt;
    }

    exit_code = usage_error;
    if (!cores.empty()) {
        auto list = sluice::parse_cpu_list(cores);
        if (!list) {
            std::cerr << "--cores " << cores << ": not a list of CPUs such as 0-1,4\n";
            return std::nullopt;
        }
        o.cores = std::move(*list);
    }
    auto at = sluice::endpoint::of(address, port);
    if (!at) {
        std::cerr << "--address " << address << ": not a numeric IPv4 or IPv6 address\n";
        return std::nullopt;
    }
    if (!sluice::set_log_level(o.log_level)) {
        std::cerr << "--log-level " << o.log_level << ": no such level, see --help\n";
        return std::nullopt;
    }
    o.address = *at;
    o.pin = !no_pin;
    return o;
}

}  // namespace echo
