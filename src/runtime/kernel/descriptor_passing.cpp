// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/descriptor_passing.hpp"

#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sluice::detail {

namespace {

constexpr std::size_t most = 253;  // descriptors in one message: SCM_MAX_FD

union control_space {
    cmsghdr header;
    std::array<char, CMSG_SPACE(sizeof(int) * most)> bytes;
};

int why() noexcept { return errno == EAGAIN ? ETIMEDOUT : errno; }

}  // namespace

result<void> check_user(int socket) {
    ucred other{};
    socklen_t size = sizeof other;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &other, &size) != 0)
        return errno_error(errno);
    if (other.uid != 0 && other.uid != ::geteuid()) return errno_error(EACCES);
    return {};
}

result<void> send_descriptors(int socket, const std::string& text, std::span<const int> sent) {
    if (sent.empty() || sent.size() > most) return errno_error(EINVAL);
    control_space control{};
    iovec data{const_cast<char*>(text.data()), text.size()};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(sent.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sent.size_bytes());
    std::memcpy(CMSG_DATA(rights), sent.data(), sent.size_bytes());
    const ssize_t n = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) return errno_error(errno);
    if (static_cast<std::size_t>(n) != text.size()) return errno_error(EAGAIN);
    return {};
}

result<int> connect_to(const sockaddr* address, socklen_t length,
                       std::chrono::milliseconds patience) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno_error(errno);
    timeval limit{};
    limit.tv_sec = static_cast<time_t>(patience.count() / 1000);
    limit.tv_usec = static_cast<suseconds_t>(patience.count() % 1000 * 1000);
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (::connect(fd, address, length) != 0) {
        const int failed = why();
        ::close(fd);
        return errno_error(failed);
    }
    return fd;
}

result<std::pair<std::string, std::vector<int>>> receive_descriptors(int socket) {
    control_space control{};
    std::array<char, 256> text{};
    iovec data{text.data(), text.size()};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = sizeof control.bytes;
    ssize_t n = 0;
    do n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0) return errno_error(why());
    if (n == 0) return errno_error(EPIPE);
    std::vector<int> got;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t bytes = part->cmsg_len - CMSG_LEN(0);
        got.resize(bytes / sizeof(int));
        std::memcpy(got.data(), CMSG_DATA(part), bytes);
    }
    return std::pair{std::string(text.data(), static_cast<std::size_t>(n)), std::move(got)};
}

result<void> send_and_await_end(int socket) {
    char byte = 1;
    if (::send(socket, &byte, 1, MSG_NOSIGNAL) != 1) return errno_error(why());
    ssize_t n = 0;
    do n = ::recv(socket, &byte, 1, 0);
    while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0 && errno != ECONNRESET) return errno_error(why());
    return {};
}

void close_descriptor(int descriptor) noexcept {
    if (descriptor >= 0) ::close(descriptor);
}

}  // namespace sluice::detail
