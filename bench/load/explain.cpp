// SPDX-License-Identifier: Apache-2.0
#include "explain.hpp"

#include <cerrno>
#include <sstream>

namespace sluice_load {

namespace {

std::string connect_remedy(int error) {
    switch (error) {
        case ECONNREFUSED: return "start the server, or correct --host and --port";
        case EMFILE: return "use fewer --connections or a higher limit (ulimit -n)";
        case ENFILE: return "the system has no descriptors left: raise fs.file-max";
        case EADDRNOTAVAIL:
            return "no local port is free: use --spread-sources (on loopback), fewer "
                   "--connections, or a wider net.ipv4.ip_local_port_range";
        case ENETUNREACH:
        case EHOSTUNREACH: return "there is no route: correct --host";
        case ETIMEDOUT: return "lower --connect-parallel or raise the server's backlog";
        case ECONNRESET: return "the server accepted and closed at once: read its log";
        default: return "see the error";
    }
}

}  // namespace

std::string to_text(const boost::asio::ip::tcp::endpoint& endpoint) {
    std::ostringstream text;
    text << endpoint;
    return text.str();
}

failure explain_connect(const boost::system::error_code& error,
                        const boost::asio::ip::tcp::endpoint& server) {
    return {.kind = failure_kind::connect,
            .connection = 0,
            .cause = "cannot connect to " + to_text(server) + ": " + error.message(),
            .remedy = connect_remedy(error.value())};
}

failure explain_connect_timeout(const boost::asio::ip::tcp::endpoint& server,
                                const load_options& options) {
    std::ostringstream cause;
    cause << "cannot connect to " << server << ": no answer for "
          << std::chrono::duration<double>(options.timeout).count() << " s";
    return {.kind = failure_kind::connect,
            .connection = 0,
            .cause = cause.str(),
            .remedy = connect_remedy(ETIMEDOUT)};
}

failure explain_transfer(const boost::system::error_code& error, const std::string& where) {
    const bool reset =
        error.value() == ECONNRESET || error.value() == EPIPE || error.value() == ENOTCONN;
    return {.kind = reset ? failure_kind::reset : failure_kind::other,
            .connection = 0,
            .cause = (reset ? "the server reset the connection" : error.message()) + (" " + where),
            .remedy = reset ? "read the server's log: it closed or ended with data outstanding"
                            : "see the error"};
}

failure explain_mismatch(const std::string& cause) {
    return {.kind = failure_kind::verification,
            .connection = 0,
            .cause = cause,
            .remedy = "the server does not echo exactly what it gets"};
}

failure explain_early_close(const std::string& cause) {
    return {.kind = failure_kind::early_close,
            .connection = 0,
            .cause = cause,
            .remedy = "read the server's log: data was lost, or a limit or time-out was reached"};
}

failure explain_stall(const std::string& cause) {
    return {.kind = failure_kind::timeout,
            .connection = 0,
            .cause = cause,
            .remedy = "the server is stuck, or needs a longer --timeout or less in flight"};
}

}  // namespace sluice_load
