// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <new>

#include "net/connection.hpp"
#include "net/descriptor_budget.hpp"
#include "net/net_context.hpp"
#include "runtime/request.hpp"
#include "sluice/task_dump.hpp"
#include "sluice/tcp_stream.hpp"
#include "sluice/this_coro.hpp"
#include "sluice/timeout.hpp"

namespace sluice {

namespace {

using detail::net_context;
using detail::operation;
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

int prepare_socket(detail::kernel& k, const endpoint& peer, const connect_options& options) {
    const int fd = k.socket(peer.family(), SOCK_STREAM, 0);
    if (fd < 0) return fd;
    int failed = 0;
    const int on = 1;
    if (options.no_delay && peer.family() != AF_UNIX)
        failed = k.set_option(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
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

}  // namespace

task<result<tcp_stream>> tcp_stream::connect(endpoint peer, connect_options options) {
    reactor& home = co_await this_coro::reactor();
    auto context = net_context::of(home);
    if (!context) co_return context.error();
    net_context& net = **context;
    const auto allowed = net.allows(options.mode);
    if (!allowed) co_return allowed.error();
    int descriptor = 0;
    if (net.fixed()) {
        if (options.bind_local) co_return errno_error(EOPNOTSUPP);
        direct_socket_request making(peer.family());
        descriptor = co_await making;
    } else {
        descriptor = prepare_socket(net.below(), peer, options);
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

}  // namespace sluice
