// SPDX-License-Identifier: Apache-2.0
//! Internet addresses of the simulated network.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>

namespace sluice::sim {

struct sim_address {
    int family = AF_INET;               //!< AF_INET or AF_INET6
    std::array<std::uint8_t, 16> ip{};  //!< IPv4: the first four
    std::uint16_t port = 0;

    auto operator<=>(const sim_address&) const = default;

    [[nodiscard]] bool is_any() const noexcept { return ip == std::array<std::uint8_t, 16>{}; }
    [[nodiscard]] std::string text() const;
};

//! The loopback address of a family.
sim_address loopback(int family, std::uint16_t port) noexcept;

//! An IPv4 address as IPv6 (::ffff:a.b.c.d); others unchanged.
sim_address mapped(const sim_address& a) noexcept;

//! Reads a socket address; nothing when it is too short or of another family.
std::optional<sim_address> read_address(const sockaddr* address, socklen_t length) noexcept;

//! Writes as much as `length` allows and sets it to the full length, as getsockname(2) does.
void write_address(const sim_address& from, sockaddr* address, socklen_t& length) noexcept;

}  // namespace sluice::sim
