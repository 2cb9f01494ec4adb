// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace sluice::sim {

std::string sim_address::text() const {
    char buffer[INET6_ADDRSTRLEN] = "?";
    ::inet_ntop(family, ip.data(), buffer, sizeof buffer);
    return std::string(buffer) + " port " + std::to_string(port);
}

sim_address loopback(int family, std::uint16_t port) noexcept {
    sim_address a;
    a.family = family;
    a.port = port;
    if (family == AF_INET) {
        a.ip[0] = 127;
        a.ip[3] = 1;
    } else {
        a.ip[15] = 1;
    }
    return a;
}

sim_address mapped(const sim_address& a) noexcept {
    if (a.family != AF_INET) return a;
    sim_address m;
    m.family = AF_INET6;
    m.port = a.port;
    m.ip[10] = m.ip[11] = 0xff;
    std::copy_n(a.ip.begin(), 4, m.ip.begin() + 12);
    return m;
}

std::optional<sim_address> read_address(const sockaddr* address, socklen_t length) noexcept {
    sim_address a;
    if (address == nullptr || length < sizeof(sa_family_t)) return std::nullopt;
    a.family = address->sa_family;
    if (a.family == AF_INET && length >= sizeof(sockaddr_in)) {
        sockaddr_in in{};
        std::memcpy(&in, address, sizeof in);
        std::memcpy(a.ip.data(), &in.sin_addr, 4);
        a.port = ntohs(in.sin_port);
        return a;
    }
    if (a.family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
        sockaddr_in6 in{};
        std::memcpy(&in, address, sizeof in);
        std::memcpy(a.ip.data(), &in.sin6_addr, 16);
        a.port = ntohs(in.sin6_port);
        return a;
    }
    return std::nullopt;
}

void write_address(const sim_address& from, sockaddr* address, socklen_t& length) noexcept {
    sockaddr_storage whole{};
    socklen_t size = 0;
    if (from.family == AF_INET) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = htons(from.port);
        std::memcpy(&in.sin_addr, from.ip.data(), 4);
        size = sizeof in;
        std::memcpy(&whole, &in, size);
    } else {
        sockaddr_in6 in{};
        in.sin6_family = AF_INET6;
        in.sin6_port = htons(from.port);
        std::memcpy(&in.sin6_addr, from.ip.data(), 16);
        size = sizeof in;
        std::memcpy(&whole, &in, size);
    }
    if (address != nullptr) std::memcpy(address, &whole, std::min(length, size));
    length = size;
}

}  // namespace sluice::sim
