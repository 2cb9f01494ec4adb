// SPDX-License-Identifier: Apache-2.0
#include "sluice/version.hpp"

namespace sluice {

std::string_view version() noexcept { return SLUICE_VERSION; }

}  // namespace sluice
