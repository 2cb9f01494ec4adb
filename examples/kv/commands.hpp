// SPDX-License-Identifier: Apache-2.0
//! What the commands do, on the core that a key belongs to.
#pragma once

#include <sluice/sluice.hpp>

#include "resp.hpp"
#include "store.hpp"

namespace kv {

using stores = sluice::sharded<store>;

//! Runs one command and gives the reply. An error only when the service ends.
sluice::task<sluice::result<std::string>> run(stores& all, command c);

}  // namespace kv
