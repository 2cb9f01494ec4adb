// SPDX-License-Identifier: Apache-2.0
//! Errors that sluice adds to those of the operating system.
#pragma once

#include <boost/system/error_code.hpp>

namespace sluice {

//! Conditions that no errno describes. Everything else is reported with the kernel's own errno in
//! `boost::system::system_category()`; a cancelled operation is ECANCELED there.
enum class error {
    eof = 1,         //!< the peer ended its sending side; equal to boost::asio::error::eof
    truncated,       //!< the stream ended, or a limit was reached, in the middle of a message
    timeout,         //!< a deadline of ours passed (ETIMEDOUT instead means: the peer is dead)
    broken_send,     //!< an earlier send stopped half-way: the write side can't be used any more
    draining,        //!< the service is stopping and takes no new work
    channel_closed,  //!< equal to boost::asio::experimental::error::channel_closed
    lagged,          //!< values were lost: subscription::lost() says how many
};

//! The category of the values above that Asio has no value for.
const boost::system::error_category& error_category() noexcept;

boost::system::error_code make_error_code(error e) noexcept;

//! What a cancelled operation reports: ECANCELED, equal to boost::asio::error::operation_aborted.
boost::system::error_code cancelled_error() noexcept;

//! Makes an error code of a positive errno value.
inline boost::system::error_code errno_error(int positive_errno) noexcept {
    return {positive_errno, boost::system::system_category()};
}

}  // namespace sluice

template <>
struct boost::system::is_error_code_enum<sluice::error> : std::true_type {};
