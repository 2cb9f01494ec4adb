// SPDX-License-Identifier: Apache-2.0
#include "sluice/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace sluice {

namespace {

result<spdlog::level::level_enum> parse_level(std::string_view name) {
    // spdlog answers "off" for names that it does not know.
    const auto level = spdlog::level::from_str(std::string(name));
    if (level == spdlog::level::off && name != "off") return errno_error(EINVAL);
    return level;
}

std::shared_ptr<spdlog::logger> make_logger() {
    if (auto registered = spdlog::get("sluice")) return registered;
    auto made = std::make_shared<spdlog::logger>("sluice",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    if (const char* wanted = std::getenv("SLUICE_LOG_LEVEL")) {
        if (const auto level = parse_level(wanted))
            made->set_level(*level);
        else
            made->warn("SLUICE_LOG_LEVEL={}: no such level; use trace, debug, info, warning, "
                       "error, critical or off",
                       wanted);
    }
    return made;
}

}  // namespace

const std::shared_ptr<spdlog::logger>& logger() {
    static const std::shared_ptr<spdlog::logger> instance = make_logger();
    return instance;
}

result<void> set_log_level(std::string_view level) {
    const auto parsed = parse_level(level);
    if (!parsed) return parsed.error();
    logger()->set_level(*parsed);
    return {};
}

}  // namespace sluice
