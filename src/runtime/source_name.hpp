// SPDX-License-Identifier: Apache-2.0
//! Names of functions as people write them.
#pragma once

#include <string>
#include <string_view>

namespace sluice::detail {

//! What std::source_location::function_name() says inside a coroutine, without result type and
//! parameters. g++ names the function that it made of the coroutine,
//! "void ns::f(ns::f(int)::_ZN2ns1fEi.Frame*) [with T = int]"; clang the coroutine itself,
//! "task<> ns::f(int)": both give "ns::f".
std::string short_function_name(std::string_view name);

}  // namespace sluice::detail
