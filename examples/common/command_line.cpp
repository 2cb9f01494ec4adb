// SPDX-License-Identifier: Apache-2.0
#include "command_line.hpp"

#include <cstdio>
#include <map>

namespace demo {

namespace {
constexpr int usage_error = 2;
constexpr std::int64_t longest_ms = std::int64_t{365} * 24 * 3600 * 1000;
const std::map<std::string, std::int64_t> time_units{{"ms", 1}, {"s", 1000}, {"m", 60'000}};
}  // namespace

command_line::command_line(std::string name, const std::string& description, std::uint16_t port,
                           const std::string& port_option)
    : name_(std::move(name)), app_(description, name_), port_(port) {
    app_.set_version_flag("--version", std::string(sluice::version()));
    app_.add_option("--cores", cores_text_,
                    "CPUs to run a reactor on, such as 0-1,4 (default: all that the process may "
                    "use)");
    app_.add_flag("--no-pin", no_pin_, "leave the threads to the scheduler");
    app_.add_option(port_option, port_, "TCP port; 0: the kernel chooses")->capture_default_str();
    app_.add_option("--address", address_text_, "numeric address; :: takes IPv6 and IPv4")
        ->capture_default_str();
    app_.add_option("--log-level", log_level_, "trace, debug, info, warning, error, critical, off")
        ->capture_default_str();
}

CLI::Option* command_line::add_duration(const std::string& name, std::chrono::milliseconds& to,
                                        const std::string& help) {
    return app_
        .add_option_function<std::int64_t>(
            name, [&to](const std::int64_t& ms) { to = std::chrono::milliseconds(ms); }, help)
        ->transform(
            CLI::AsNumberWithUnit(time_units, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
        ->check(CLI::Range(std::int64_t{0}, longest_ms));
}

std::optional<int> command_line::parse(int argc, char** argv) {
    try {
        app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app_.exit(e) == 0 ? 0 : usage_error;
    }
    return check();
}

std::optional<int> command_line::check() {
    if (!cores_text_.empty()) {
        auto list = sluice::parse_cpu_list(cores_text_);
        if (!list) {
            std::cerr << "--cores " << cores_text_ << ": not a list of CPUs such as 0-1,4\n";
            return usage_error;
        }
        cores_ = std::move(*list);
    }
    auto at = sluice::endpoint::of(address_text_, port_);
    if (!at) {
        std::cerr << "--address " << address_text_ << ": not a numeric IPv4 or IPv6 address\n";
        return usage_error;
    }
    if (!sluice::set_log_level(log_level_)) {
        std::cerr << "--log-level " << log_level_ << ": no such level, see --help\n";
        return usage_error;
    }
    address_ = *at;
    return std::nullopt;
}

sluice::service_options command_line::service() const {
    sluice::service_options how;
    how.cpus = cores_;
    how.pin = !no_pin_;
    how.handle_signals = true;
    how.dump_on_sigquit = true;
    return how;
}

int command_line::fail(const std::string& message) const {
    std::fprintf(stderr, "%s: %s\n", name_.c_str(), message.c_str());
    return EXIT_FAILURE;
}

}  // namespace demo
