// SPDX-License-Identifier: Apache-2.0
#include "sluice/listener.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "net/accept_exchange.hpp"
#include "net/acceptor.hpp"
#include "net/net_context.hpp"
#include "runtime/kernel/kernel.hpp"
#include "runtime/kernel/process.hpp"

namespace sluice {

namespace {

result<void> set(detail::kernel& k, int fd, int level, int name, int value) {
    const int failed = k.set_option(fd, level, name, &value, sizeof value);
    if (failed < 0) return errno_error(-failed);
    return {};
}

// Closes a descriptor at the end of a scope unless it is kept.
class descriptor_guard {
public:
    descriptor_guard(detail::kernel& k, int fd) noexcept : kernel_(k), fd_(fd) {}
    descriptor_guard(const descriptor_guard&) = delete;
    descriptor_guard& operator=(const descriptor_guard&) = delete;
    ~descriptor_guard() {
        if (fd_ >= 0) kernel_.close(fd_);
    }
    int keep() noexcept { return std::exchange(fd_, -1); }

private:
    detail::kernel& kernel_;
    int fd_;
};

result<endpoint> local_of(detail::kernel& k, int fd) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const int failed = k.local_address(fd, reinterpret_cast<sockaddr*>(&address), length);
    if (failed < 0) return errno_error(-failed);
    return endpoint::from(reinterpret_cast<const sockaddr*>(&address), length);
}

// SO_REUSEPORT would let two services share a port without either noticing. A socket without it
// can't be bound while somebody listens there.
result<void> check_unused(detail::kernel& k, const endpoint& at) {
    if (at.family() == AF_UNIX || at.port() == 0) return {};
    const int fd = k.socket(at.family(), SOCK_STREAM, 0);
    if (fd < 0) return errno_error(-fd);
    const descriptor_guard guard(k, fd);
    if (auto r = set(k, fd, SOL_SOCKET, SO_REUSEADDR, 1); !r) return r;
    if (at.family() == AF_INET6)
        if (auto r = set(k, fd, IPPROTO_IPV6, IPV6_V6ONLY, 1); !r) return r;
    const int failed = k.bind(fd, at.data(), at.size());
    if (failed < 0) return errno_error(-failed);
    return {};
}

// A process that was killed still has its sockets until the kernel is done with it.
result<void> wait_until_unused(detail::kernel& k, const endpoint& at,
                               std::chrono::milliseconds patience) {
    constexpr std::chrono::milliseconds step{20};
    auto unused = check_unused(k, at);
    for (std::chrono::milliseconds waited{0};
         !unused && unused.error().value() == EADDRINUSE && waited < patience; waited += step) {
        detail::pause_thread(step);
        unused = check_unused(k, at);
    }
    return unused;
}

}  // namespace

result<listener_group> listener_group::open(const endpoint& at, unsigned count,
                                            const listen_options& options) {
    return open_on(detail::linux_kernel(), at, count, options);
}

result<listener_group> listener_group::open_on(detail::kernel& kernel, const endpoint& at,
                                               unsigned count, const listen_options& options) {
    if (count == 0 || (at.family() == AF_UNIX && count != 1)) return errno_error(EINVAL);
    if (!options.share_port)
        if (auto unused = wait_until_unused(kernel, at, options.bind_wait); !unused)
            return unused.error();
    listener_group group(kernel, options);
    group.local_ = at;
    for (unsigned i = 0; i < count; ++i)
        if (auto added = group.add_socket(group.local_); !added) return added.error();
    // The sockets have joined the group in the order of their indices.
    if (auto steered = detail::steer(kernel, group.descriptors_.front(), count, options.steer);
        !steered)
        return steered.error();
    group.begin();
    return group;
}

void listener_group::begin() {
    exchange_ = std::make_shared<detail::accept_exchange>(
        *kernel_, options_.steer, std::max(options_.max_pending_accepts, 1U));
}

result<void> listener_group::add_socket(const endpoint& at) {
    detail::kernel& k = *kernel_;
    const int fd = k.socket(at.family(), SOCK_STREAM, 0);
    if (fd < 0) return errno_error(-fd);
    descriptor_guard guard(k, fd);
    if (at.family() != AF_UNIX) {
        if (auto r = set(k, fd, SOL_SOCKET, SO_REUSEADDR, 1); !r) return r;
        if (auto r = set(k, fd, SOL_SOCKET, SO_REUSEPORT, 1); !r) return r;
        if (options_.no_delay)  // accepted sockets inherit it
            if (auto r = set(k, fd, IPPROTO_TCP, TCP_NODELAY, 1); !r) return r;
    }
    if (at.family() == AF_INET6)
        if (auto r = set(k, fd, IPPROTO_IPV6, IPV6_V6ONLY, options_.ipv6_only ? 1 : 0); !r)
            return r;
    if (options_.receive_buffer > 0)
        if (auto r = set(k, fd, SOL_SOCKET, SO_RCVBUF, options_.receive_buffer); !r) return r;
    if (options_.send_buffer > 0)
        if (auto r = set(k, fd, SOL_SOCKET, SO_SNDBUF, options_.send_buffer); !r) return r;
    if (const int failed = k.bind(fd, at.data(), at.size()); failed < 0)
        return errno_error(-failed);
    if (const int failed = k.listen(fd, options_.backlog); failed < 0) return errno_error(-failed);
    auto bound = local_of(k, fd);
    if (!bound) return bound.error();
    local_ = *bound;
    descriptors_.push_back(guard.keep());
    return {};
}

result<listener_group> listener_group::adopt(std::vector<int> descriptors,
                                             const listen_options& options) {
    detail::kernel& k = detail::linux_kernel();
    listener_group group(k, options);
    group.descriptors_ = std::move(descriptors);
    if (group.descriptors_.empty()) return errno_error(EINVAL);
    for (const int fd : group.descriptors_) {
        int type = 0;
        int listening = 0;
        socklen_t length = sizeof type;
        if (const int failed = k.get_option(fd, SOL_SOCKET, SO_TYPE, &type, length); failed < 0)
            return errno_error(-failed);
        length = sizeof listening;
        if (const int failed = k.get_option(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, length);
            failed < 0)
            return errno_error(-failed);
        if (type != SOCK_STREAM || listening == 0) return errno_error(EINVAL);
        // io_uring answers EAGAIN on a non-blocking socket instead of waiting.
        if (const int failed = k.make_blocking(fd); failed < 0) return errno_error(-failed);
    }
    auto bound = local_of(k, group.descriptors_.front());
    if (!bound) return bound.error();
    group.local_ = *bound;
    group.begin();
    return group;
}

listener_group::listener_group(listener_group&& o) noexcept
    : kernel_(o.kernel_),
      options_(std::move(o.options_)),
      descriptors_(std::exchange(o.descriptors_, {})),
      local_(o.local_),
      exchange_(std::move(o.exchange_)) {}

listener_group::~listener_group() {
    for (const int fd : descriptors_) kernel_->close(fd);
}

result<tcp_listener> tcp_listener::open(reactor& home, const listener_group& group) {
    return open(home, group, home.index());
}

result<tcp_listener> tcp_listener::open(reactor& home, const listener_group& group,
                                        unsigned index) {
    auto net = detail::net_context::of(home);
    if (!net) return net.error();
    if (auto allowed = (**net).allows(group.options().mode); !allowed) return allowed.error();
    return tcp_listener{*new detail::acceptor(**net, group, index % group.count())};
}

tcp_listener::~tcp_listener() {
    if (acceptor_ != nullptr) acceptor_->close();
}

std::uint32_t tcp_listener::connections() const noexcept { return acceptor_->connections(); }

std::string explain_receive_error(const boost::system::error_code& error, const reactor& home) {
    const reactor_options& options = home.options();
    for (const feature& f : home.ring_features().list())
        if (f.name == "ZCRX" && !f.in_use && error.value() != ENOMEM)
            return "no zero-copy receive: " + f.why_not;
    const auto bytes = std::uint64_t{options.recv_buffers} * options.recv_buffer_size;
    return "no receive buffers of " + std::to_string(bytes) +
           " bytes for each core: " + error.message() +
           ": use fewer or smaller ones (recv_buffers, recv_buffer_size), or raise RLIMIT_AS and "
           "RLIMIT_MEMLOCK";
}

std::string explain_listen_error(const boost::system::error_code& error, const endpoint& at) {
    const std::string where = "can't listen on " + at.to_string() + ": ";
    switch (error.value()) {
        case EADDRINUSE:
            return where + "the port is in use: stop the other service or choose another port";
        case EACCES:
            return where + "ports below net.ipv4.ip_unprivileged_port_start (1024) need "
                           "CAP_NET_BIND_SERVICE: run with it or choose a higher port";
        case EADDRNOTAVAIL: return where + "no interface has this address: see `ip address`";
        case EAFNOSUPPORT:
            return where + "this machine has no such protocol (is IPv6 switched off?)";
        case EMFILE:
        case ENFILE: return where + "no descriptors left: raise RLIMIT_NOFILE (ulimit -n)";
        default: return where + error.message();
    }
}

}  // namespace sluice
