// SPDX-License-Identifier: Apache-2.0
//! The version, by the rules of semantic versioning (docs/versioning.md).
#pragma once

#include <string_view>

namespace sluice {

//! "major.minor.patch" of the library that is linked.
std::string_view version() noexcept;

}  // namespace sluice
