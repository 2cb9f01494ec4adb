// SPDX-License-Identifier: Apache-2.0
//! The type that every await of I/O returns.
#pragma once

#include <boost/system/result.hpp>

#include "sluice/error.hpp"

namespace sluice {

//! A value or an error code. `.value()` throws boost::system::system_error when it holds an error.
template <class T = void>
using result = boost::system::result<T>;

namespace detail {
template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<boost::system::result<T>> = true;
}  // namespace detail

}  // namespace sluice
