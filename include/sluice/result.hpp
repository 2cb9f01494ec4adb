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

//! An error as a result<T> of any T: those of bool, and of what can be made of anything, do not
//! take one by conversion.
template <class T>
result<T> error_result(const boost::system::error_code& e) {
    return result<T>{boost::system::in_place_error, e};
}
}  // namespace detail

}  // namespace sluice
