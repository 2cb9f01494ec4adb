// SPDX-License-Identifier: Apache-2.0
#include "sim/socket_options.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace sluice::sim {

namespace {

constexpr std::array<std::pair<int, int>, 23> remembered{{
    {SOL_SOCKET, SO_REUSEADDR},   {SOL_SOCKET, SO_REUSEPORT},
    {SOL_SOCKET, SO_KEEPALIVE},   {SOL_SOCKET, SO_INCOMING_CPU},
    {SOL_SOCKET, SO_BUSY_POLL},   {SOL_SOCKET, SO_PRIORITY},
    {SOL_SOCKET, SO_MARK},        {SOL_SOCKET, SO_INCOMING_NAPI_ID},
    {SOL_SOCKET, SO_ZEROCOPY},    {SOL_SOCKET, SO_RCVLOWAT},
    {IPPROTO_TCP, TCP_NODELAY},   {IPPROTO_TCP, TCP_KEEPIDLE},
    {IPPROTO_TCP, TCP_KEEPINTVL}, {IPPROTO_TCP, TCP_KEEPCNT},
    {IPPROTO_TCP, TCP_QUICKACK},  {IPPROTO_TCP, TCP_USER_TIMEOUT},
    {IPPROTO_TCP, TCP_CORK},      {IPPROTO_TCP, TCP_DEFER_ACCEPT},
    {IPPROTO_TCP, TCP_FASTOPEN},  {IPPROTO_TCP, TCP_NOTSENT_LOWAT},
    {IPPROTO_IP, IP_TOS},         {IPPROTO_IPV6, IPV6_V6ONLY},
    {IPPROTO_IPV6, IPV6_TCLASS},
}};
constexpr int smallest_buffer = 2304;  // what Linux makes of less

bool is_remembered(int level, int name) noexcept {
    return std::find(remembered.begin(), remembered.end(), std::pair{level, name}) !=
           remembered.end();
}

}  // namespace

int give_option(const void* answer, std::size_t size, void* value, socklen_t& length) noexcept {
    const std::size_t fits = std::min<std::size_t>(length, size);
    std::memcpy(value, answer, fits);
    length = static_cast<socklen_t>(fits);
    return 0;
}

int socket_options::value(int level, int name) const {
    const auto found = values_.find({level, name});
    return found == values_.end() ? 0 : found->second;
}

int socket_options::set(int level, int name, const void* given, socklen_t length) {
    if (level == SOL_SOCKET && name == SO_LINGER) {
        if (length < sizeof linger_) return -EINVAL;
        std::memcpy(&linger_, given, sizeof linger_);
        return 0;
    }
    // The program that picks a socket of a group is taken and not run.
    if (level == SOL_SOCKET && name == SO_ATTACH_REUSEPORT_CBPF) return 0;
    int number = 0;
    if (length < sizeof number) return -EINVAL;
    std::memcpy(&number, given, sizeof number);
    if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_RCVBUF)) {
        // Linux doubles the number, to have room for its own bookkeeping.
        const auto bytes = static_cast<std::size_t>(std::max(2 * number, smallest_buffer));
        (name == SO_SNDBUF ? buffers_.send : buffers_.receive) = bytes;
        return 0;
    }
    if (!is_remembered(level, name)) return -ENOPROTOOPT;
    values_[{level, name}] = number;
    return 0;
}

int socket_options::get(int level, int name, void* given, socklen_t& length) const {
    if (level == SOL_SOCKET && name == SO_LINGER)
        return give_option(&linger_, sizeof linger_, given, length);
    int number = value(level, name);
    if (level == SOL_SOCKET && name == SO_SNDBUF)
        number = static_cast<int>(buffers_.send);
    else if (level == SOL_SOCKET && name == SO_RCVBUF)
        number = static_cast<int>(buffers_.receive);
    else if (level == SOL_SOCKET && name == SO_TYPE)
        number = SOCK_STREAM;
    else if (level == SOL_SOCKET && name == SO_PROTOCOL)
        number = IPPROTO_TCP;
    else if (!is_remembered(level, name))
        return -ENOPROTOOPT;
    return give_option(&number, sizeof number, given, length);
}

}  // namespace sluice::sim
