// SPDX-License-Identifier: Apache-2.0
//! Addresses: IPv4, IPv6 and Unix sockets in one type.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/result.hpp"

namespace sluice {

//! A socket address by value. Ports are in host order. sluice/asio.hpp converts from and to Asio's.
class endpoint {
public:
    //! 0.0.0.0, port 0.
    endpoint() noexcept;

    //! A copy of what the kernel fills in. Error: EAFNOSUPPORT for other families, EINVAL for a
    //! length that is too small.
    static result<endpoint> from(const sockaddr* address, socklen_t length);

    //! "192.0.2.1:80", "[2001:db8::1]:80", "[fe80::1%eth0]:80", "unix:/path", "unix:@abstract".
    //! Names are not looked up. Error: EINVAL.
    static result<endpoint> parse(std::string_view text);

    //! A numeric address, "192.0.2.1" or "2001:db8::1" (brackets allowed), and a port.
    static result<endpoint> of(std::string_view address, std::uint16_t port);

    [[nodiscard]] int family() const noexcept { return storage_.any.sa_family; }
    [[nodiscard]] const sockaddr* data() const noexcept { return &storage_.any; }
    [[nodiscard]] socklen_t size() const noexcept { return length_; }

    //! 0 for Unix sockets.
    [[nodiscard]] std::uint16_t port() const noexcept;
    [[nodiscard]] endpoint with_port(std::uint16_t port) const noexcept;

    //! What parse() reads.
    [[nodiscard]] std::string to_string() const;

    friend bool operator==(const endpoint& a, const endpoint& b) noexcept;

private:
    union storage {
        sockaddr any;
        sockaddr_in v4;
        sockaddr_in6 v6;
        sockaddr_un local;
    };
    storage storage_;
    socklen_t length_;
};

}  // namespace sluice
