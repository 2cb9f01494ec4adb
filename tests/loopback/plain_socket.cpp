// SPDX-License-Identifier: Apache-2.0
#include "loopback/plain_socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <system_error>

namespace sluice::testing {

namespace {

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

plain_socket::plain_socket(int fd) noexcept : fd_(fd) {
    const timeval patience{patience_seconds, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

plain_socket plain_socket::connect(const endpoint& to, std::uint32_t source) {
    const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    plain_socket s(fd);
    if (to.family() != AF_UNIX) s.set_option(IPPROTO_TCP, TCP_NODELAY, 1);
    if (source != 0) {
        // Without it the kernel would choose the port at bind, from fewer than it has.
        s.set_option(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        sockaddr_in from{};
        from.sin_family = AF_INET;
        from.sin_addr.s_addr = htonl(source);
        if (::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) fail("bind");
    }
    if (::connect(fd, to.data(), to.size()) != 0) {
        if (errno != EINTR) fail("connect");
        // It goes on: connect(2) says to wait until the socket is writable.
        pollfd done{fd, POLLOUT, 0};
        while (::poll(&done, 1, -1) < 0 && errno == EINTR) {}
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        errno = error;
        if (error != 0) fail("connect");
    }
    return s;
}

bool plain_socket::send(std::span<const std::byte> bytes) noexcept {
    while (!bytes.empty()) {
        const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) continue;
            return false;
        }
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return true;
}

bool plain_socket::send(std::string_view text) noexcept { return send(bytes_of(text)); }

ssize_t plain_socket::recv(std::span<std::byte> to) noexcept {
    ssize_t n = 0;
    do n = ::recv(fd_, to.data(), to.size(), 0);
    while (n < 0 && errno == EINTR);
    return n;
}

bool plain_socket::recv_exact(std::span<std::byte> to) noexcept {
    while (!to.empty()) {
        const ssize_t n = recv(to);
        if (n <= 0) return false;
        to = to.subspan(static_cast<std::size_t>(n));
    }
    return true;
}

std::string plain_socket::recv_all() {
    std::string all;
    std::array<std::byte, 65536> part{};
    errno = 0;
    for (;;) {
        const ssize_t n = recv(part);
        if (n <= 0) return all;
        all.append(reinterpret_cast<const char*>(part.data()), static_cast<std::size_t>(n));
    }
}

std::string plain_socket::recv_text(std::size_t count) {
    std::string text(count, '\0');
    std::size_t have = 0;
    while (have < count) {
        const ssize_t n = recv(std::as_writable_bytes(std::span(text.data() + have, count - have)));
        if (n <= 0) break;
        have += static_cast<std::size_t>(n);
    }
    text.resize(have);
    return text;
}

void plain_socket::shutdown_write() noexcept { ::shutdown(fd_, SHUT_WR); }

void plain_socket::close() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void plain_socket::reset() noexcept {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
}

void plain_socket::set_option(int level, int name, int value) noexcept {
    ::setsockopt(fd_, level, name, &value, sizeof value);
}

plain_listener::plain_listener(const endpoint& at, int backlog, int receive_buffer) {
    const int fd = ::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    socket_ = plain_socket(fd);
    if (at.family() != AF_UNIX) socket_.set_option(SOL_SOCKET, SO_REUSEADDR, 1);
    if (receive_buffer != 0) socket_.set_option(SOL_SOCKET, SO_RCVBUF, receive_buffer);
    if (::bind(fd, at.data(), at.size()) != 0) fail("bind");
    if (::listen(fd, backlog) != 0) fail("listen");
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0) fail("getsockname");
    local_ = endpoint::from(reinterpret_cast<const sockaddr*>(&bound), length).value();
}

plain_socket plain_listener::accept() {
    int fd = -1;
    // The end of a child process interrupts any thread of a program, if another one waits for it.
    do fd = ::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) fail("accept");
    plain_socket accepted(fd);
    if (local_.family() != AF_UNIX) accepted.set_option(IPPROTO_TCP, TCP_NODELAY, 1);
    return accepted;
}

endpoint loopback(std::uint16_t port) { return endpoint::of("127.0.0.1", port).value(); }

endpoint unique_abstract() {
    static std::atomic<int> count{0};
    const std::string name = "unix:@sluice-test-" + std::to_string(::getpid()) + "-" +
                             std::to_string(count.fetch_add(1));
    return endpoint::parse(name).value();
}

}  // namespace sluice::testing
