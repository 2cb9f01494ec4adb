// SPDX-License-Identifier: Apache-2.0
#include "dial.hpp"

#include "explain.hpp"
#include "failure.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

namespace sluice_load {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// Not in the C library's headers everywhere.
constexpr int bind_address_no_port = 24;
constexpr std::uint32_t loopback_first = 0x7f000001;
constexpr std::uint32_t loopback_count = 0x00fffffe;

tcp::resolver::results_type resolve(asio::io_context& context, const load_options& options) {
    boost::system::error_code error;
    tcp::resolver resolver(context);
    auto found = resolver.resolve(options.host, std::to_string(options.port), error);
    if (error || found.empty()) {
        throw fatal_error("--host " + options.host + " is not known (" + error.message() +
                          "): correct the name, or give an address");
    }
    return found;
}

tcp::endpoint first_that_answers(asio::io_context& context, const load_options& options,
                                 const tcp::resolver::results_type& found) {
    tcp::socket probe(context);
    boost::system::error_code result = asio::error::timed_out;
    tcp::endpoint chosen;
    asio::async_connect(probe, found,
                        [&](const boost::system::error_code& error, const tcp::endpoint& where) {
                            result = error;
                            chosen = where;
                        });
    context.run_for(options.timeout);
    if (!result) return chosen;
    const auto why = explain_connect(result, found.begin()->endpoint());
    throw fatal_error("no address of " + options.host + " answers: " + why.cause + ": " +
                      why.remedy);
}

/// Round over 127.0.0.1 .. 127.255.255.254.
asio::ip::address_v4 source_address(std::uint64_t number) {
    return asio::ip::address_v4(loopback_first +
                                static_cast<std::uint32_t>(number % loopback_count));
}

void bind_source(tcp::socket& socket, std::uint64_t number, boost::system::error_code& error) {
    socket.set_option(asio::socket_base::reuse_address(true), error);
    if (error) return;
    // The port is picked when connecting, where it need only be unique for this server.
    const int on = 1;
    ::setsockopt(socket.native_handle(), IPPROTO_IP, bind_address_no_port, &on, sizeof on);
    socket.bind(tcp::endpoint(source_address(number), 0), error);
}

}  // namespace

tcp::endpoint find_server(const load_options& options) {
    boost::system::error_code error;
    tcp::endpoint server;
    const auto address = asio::ip::make_address(options.host, error);
    if (!error) {
        server = tcp::endpoint(address, options.port);
    } else {
        asio::io_context context;
        const auto found = resolve(context, options);
        server = found.size() == 1 ? found.begin()->endpoint()
                                   : first_that_answers(context, options, found);
    }
    const bool loopback = server.address().is_v4() && server.address().is_loopback();
    if (options.spread_sources && !loopback) {
        throw fatal_error("--spread-sources needs a server on 127/8, not on " + to_text(server), 2);
    }
    return server;
}

boost::system::error_code prepare_socket(tcp::socket& socket, const tcp::endpoint& server,
                                         const load_options& options, std::uint64_t number) {
    boost::system::error_code error;
    socket.open(server.protocol(), error);
    if (!error) socket.non_blocking(true, error);
    if (!error) socket.set_option(tcp::no_delay(true), error);
    if (!error && options.spread_sources) bind_source(socket, number, error);
    return error;
}

bool is_connected_to_itself(tcp::socket& socket, const tcp::endpoint& server) {
    boost::system::error_code error;
    return socket.local_endpoint(error) == server && !error;
}

}  // namespace sluice_load
