// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "load_options.hpp"
#include "load_run.hpp"

#include <iosfwd>

namespace sluice_load {

void write_text_report(std::ostream& out, const load_options& options,
                       const boost::asio::ip::tcp::endpoint& server, const run_results& results);

/// An object with `options`, `results` and `failures`; the unit is the last word of a key.
void write_json_report(std::ostream& out, const load_options& options,
                       const boost::asio::ip::tcp::endpoint& server, const run_results& results);

}  // namespace sluice_load
