// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "load_options.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

#include <cstdint>

namespace sluice_load {

/// Finds the server. Of several addresses of a name the first that can be connected to is taken,
/// at the price of one more connection. Throws fatal_error.
boost::asio::ip::tcp::endpoint find_server(const load_options& options);

/// Opens the socket of the connection with this number, ready to connect: not blocking, no Nagle
/// delay, bound to its source address with --spread-sources.
boost::system::error_code prepare_socket(boost::asio::ip::tcp::socket& socket,
                                         const boost::asio::ip::tcp::endpoint& server,
                                         const load_options& options, std::uint64_t number);

/// Connecting to a port nobody listens on can succeed by meeting itself, when the kernel picks
/// that port as the source. Such a connection would echo perfectly.
bool is_connected_to_itself(boost::asio::ip::tcp::socket& socket,
                            const boost::asio::ip::tcp::endpoint& server);

}  // namespace sluice_load
