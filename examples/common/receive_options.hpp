// SPDX-License-Identifier: Apache-2.0
//! The options of every demo that receives: with or without copies, and into what.
#pragma once

#include <sluice/options.hpp>

#include "command_line.hpp"

namespace demo {

//! Declares --mode and --zcrx with what belongs to them; `to` gets their values when the line is
//! parsed.
void add_receive_options(command_line& line, sluice::reactor_options& to);

}  // namespace demo
