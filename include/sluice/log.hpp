// SPDX-License-Identifier: Apache-2.0
//! The library's logger: spdlog's, under the name "sluice".
#pragma once

#include <memory>
#include <string_view>

#include "sluice/result.hpp"

namespace spdlog {
class logger;
}

namespace sluice {

//! Logs to standard error, unless the program has registered a spdlog logger named "sluice" before
//! the first use. The level is `info`, or what the environment variable SLUICE_LOG_LEVEL says.
//! Nothing is logged for a message or an operation, only for what changes.
const std::shared_ptr<spdlog::logger>& logger();

//! One of trace, debug, info, warning, error, critical, off. Error: EINVAL for another name.
result<void> set_log_level(std::string_view level);

}  // namespace sluice
