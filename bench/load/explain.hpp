// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "failure.hpp"
#include "load_options.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

#include <cstdint>
#include <string>

namespace sluice_load {

/// What an error while connecting means, and what to do.
failure explain_connect(const boost::system::error_code& error,
                        const boost::asio::ip::tcp::endpoint& server);

/// The same for a connect that was not answered in time.
failure explain_connect_timeout(const boost::asio::ip::tcp::endpoint& server,
                                const load_options& options);

/// What an error on an open connection means; where says how far the connection had come.
failure explain_transfer(const boost::system::error_code& error, const std::string& where);

failure explain_mismatch(const std::string& cause);
failure explain_early_close(const std::string& cause);
failure explain_stall(const std::string& cause);

std::string to_text(const boost::asio::ip::tcp::endpoint& endpoint);

}  // namespace sluice_load
