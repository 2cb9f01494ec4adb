// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <new>

#include "net/connection.hpp"
#include "net/descriptor_budget.hpp"
#include "net/net_context.hpp"
#include "net/port_search.hpp"
#include "runtime/request.hpp"
#include "sluice/task_dump.hpp"
#include "sluice/tcp_stream.hpp"
#include "sluice/this_coro.hpp"
#include "sluice/timeout.hpp"

namespace sluice {

namespace {

using detail::net_context;
using detail::request;

class connect_request final : public request {
public:
    connect_request(net_context& net, int descriptor, const endpoint& to) noexcept
        : request(prepare), net_(net), descriptor_(descriptor), to_(to) {}

    void describe(await_description& into) const override {
        into.say("connect on fd " + std::to_string(descriptor_) + " to " + to_.to_string());
    }

private:
    static void prepare(operation& op, io_uring_sqe& sqe) noexcept {
        auto& self = static_cast<connect_request&>(op);
        io_uring_prep_connect(&sqe, self.descriptor_, self.to_.data(), self.to_.size());
        sqe.flags |= self.net_.descriptor_flags();
    }
    net_context& net_;
    int descriptor_;
    endpoint to_;
};

//! Makes the socket in the ring's own table.
class direct_socket_request final : public request {
public:
    explicit direct_socket_request(int family) noexcept : request(prepare), family_(family) {}

private:
    static void prepare(operation& op, io_uring_sqe& sqe) noexcept {
        auto& self = static_cast<direct_socket_request&>(op);
        io_uring_prep_socket_direct_alloc(&sqe, self.family_, SOCK_STREAM, 0, 0);
    }
    int family_;
};

int prepare_socket(detail::kernel& k, const endpoint& peer, const connect_options& options,
                   bool share_port) {
    const int fd = k.socket(peer.family(), SOCK_STREAM, 0);
    if (fd < 0) return fd;
    int failed = 0;
    const int on = 1;
    if (options.no_delay && peer.family() != AF_UNIX)
        failed = k.set_option(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (failed == 0 && share_port)
        failed = k.set_option(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (failed == 0 && options.bind_local)
        failed = k.bind(fd, options.local.data(), options.local.size());
    if (failed == 0) return fd;
    k.close(fd);
    return failed;
}

task<result<void>> connect_socket(net_context& net, int descriptor, endpoint peer) {
    connect_request connecting(net, descriptor, peer);
    const int answer = co_await connecting;
    if (answer < 0) co_return errno_error(-answer);
    co_return result<void>{};
}

task<result<tcp_stream>> connect_once(net_context& net, endpoint peer, connect_options options,
                                      bool share_port) {
    int descriptor = 0;
    if (net.fixed()) {
        if (options.bind_local) co_return errno_error(EOPNOTSUPP);
        direct_socket_request making(peer.family());
        descriptor = co_await making;
    } else {
        descriptor = prepare_socket(net.below(), peer, options, share_port);
    }
    if (descriptor < 0) co_return errno_error(-descriptor);
    detail::descriptor_budget::acquired();
    // From here on the stream owns the descriptor, however this ends.
    tcp_stream stream{detail::connection::create(net, descriptor, nullptr, options.mode)};
    auto connecting = connect_socket(net, descriptor, peer);
    auto connected = co_await with_timeout(options.timeout, std::move(connecting));
    if (!connected) co_return connected.error();
    ++net.stats().connected;
    co_return stream;
}

//! The address that a connection to the peer would have: what a datagram socket gets by connect(2).
task<result<endpoint>> source_address(net_context& net, endpoint peer) {
    detail::kernel& k = net.below();
    const int descriptor = k.socket(peer.family(), SOCK_DGRAM, 0);
    if (descriptor < 0) co_return errno_error(-descriptor);
    auto connected = co_await connect_socket(net, descriptor, peer);
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const int failed = k.local_address(descriptor, reinterpret_cast<sockaddr*>(&address), length);
    k.close(descriptor);
    if (!connected) co_return connected.error();
    if (failed < 0) co_return errno_error(-failed);
    co_return endpoint::from(reinterpret_cast<const sockaddr*>(&address), length);
}

bool port_is_taken(const boost::system::error_code& e) noexcept {
    return e == errno_error(EADDRINUSE) || e == errno_error(EADDRNOTAVAIL);
}

void count_place(net_context& net, const tcp_stream& stream) noexcept {
    const auto queue = net.owners().queue_of(stream.native_handle());
    if (queue && net.owners().owns(*queue))
        ++net.stats().connects_right;
    else
        ++net.stats().connects_elsewhere;
}

//! With ports whose replies the NIC leads to the reactor's queue; when many are taken, with the
//! kernel's choice.
task<result<tcp_stream>> connect_to_own_queue(net_context& net, endpoint peer,
                                              connect_options options) {
    constexpr int most_ports = 64;
    static std::atomic<std::uint32_t> starts{0};
    endpoint local = options.local;
    if (!options.bind_local) {
        auto found = co_await source_address(net, peer);
        if (!found) co_return found.error();
        local = *found;
    }
    const auto table = net.options().zcrx.replies;
    // Apart from each other by a prime.
    detail::port_search ports(*table, net.owners().own_queue(), local, peer, detail::local_ports(),
                              starts.fetch_add(7919));
    connect_options with_port = options;
    with_port.bind_local = true;
    for (int i = 0; i < most_ports; ++i) {
        const auto port = ports.next();
        if (!port) break;
        with_port.local = local.with_port(*port);
        auto connecting = connect_once(net, peer, with_port, true);
        auto connected = co_await std::move(connecting);
        if (!connected && port_is_taken(connected.error())) continue;
        if (connected) count_place(net, *connected);
        co_return connected;
    }
    auto connecting = connect_once(net, peer, options, false);
    auto connected = co_await std::move(connecting);
    if (connected) count_place(net, *connected);
    co_return connected;
}

bool may_choose_port(net_context& net, const endpoint& peer, const connect_options& options) {
    return options.to_own_queue && net.owners().in_use() && !net.fixed() &&
           net.options().zcrx.replies != nullptr && net.zero_copy_for(options.mode) &&
           peer.family() != AF_UNIX && (!options.bind_local || options.local.port() == 0);
}

}  // namespace

task<result<tcp_stream>> tcp_stream::connect(endpoint peer, connect_options options) {
    reactor& home = co_await this_coro::reactor();
    auto context = net_context::of(home);
    if (!context) co_return context.error();
    net_context& net = **context;
    const auto allowed = net.allows(options.mode);
    if (!allowed) co_return allowed.error();
    if (may_choose_port(net, peer, options)) {
        auto connecting = connect_to_own_queue(net, peer, options);
        auto connected = co_await std::move(connecting);
        co_return connected;
    }
    auto connecting = connect_once(net, peer, options, false);
    auto connected = co_await std::move(connecting);
    co_return connected;
}

}  // namespace sluice
