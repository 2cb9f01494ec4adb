// SPDX-License-Identifier: Apache-2.0
#include "sluice/endpoint.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>

#include "runtime/kernel/process.hpp"

namespace sluice {

namespace {

constexpr std::string_view unix_prefix = "unix:";
constexpr std::size_t path_offset = offsetof(sockaddr_un, sun_path);

result<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (text.empty() || failed != std::errc{} || end != text.data() + text.size())
        return errno_error(EINVAL);
    return port;
}

result<endpoint> parse_unix(std::string_view path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) return errno_error(EINVAL);
    std::memcpy(address.sun_path, path.data(), path.size());
    const bool abstract = path.front() == '@';
    if (abstract) address.sun_path[0] = '\0';
    // An abstract name ends with the length, a path with its zero.
    const auto length = path_offset + path.size() + (abstract ? 0 : 1);
    return endpoint::from(reinterpret_cast<const sockaddr*>(&address),
                          static_cast<socklen_t>(length));
}

result<std::uint32_t> parse_scope(const std::string& zone) {
    if (const unsigned index = detail::interface_index(zone); index != 0) return index;
    std::uint32_t index = 0;
    const auto [end, failed] = std::from_chars(zone.data(), zone.data() + zone.size(), index);
    if (zone.empty() || failed != std::errc{} || end != zone.data() + zone.size())
        return errno_error(EINVAL);
    return index;
}

}  // namespace

endpoint::endpoint() noexcept : storage_{}, length_(sizeof(sockaddr_in)) {
    storage_.v4.sin_family = AF_INET;
}

result<endpoint> endpoint::from(const sockaddr* address, socklen_t length) {
    if (address == nullptr || length < sizeof(sa_family_t) || length > sizeof(storage))
        return errno_error(EINVAL);
    switch (address->sa_family) {
        case AF_INET:
            if (length < sizeof(sockaddr_in)) return errno_error(EINVAL);
            break;
        case AF_INET6:
            if (length < sizeof(sockaddr_in6)) return errno_error(EINVAL);
            break;
        case AF_UNIX: break;
        default: return errno_error(EAFNOSUPPORT);
    }
    endpoint e;
    e.storage_ = {};
    std::memcpy(&e.storage_, address, length);
    e.length_ = length;
    return e;
}

result<endpoint> endpoint::parse(std::string_view text) {
    if (text.find('\0') != std::string_view::npos) return errno_error(EINVAL);
    if (text.starts_with(unix_prefix)) return parse_unix(text.substr(unix_prefix.size()));
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return errno_error(EINVAL);
    const auto address = text.substr(0, colon);
    // Without brackets the colons of an IPv6 address could not be told from the port's.
    if (address.find(':') != std::string_view::npos && !address.starts_with('['))
        return errno_error(EINVAL);
    const auto port = parse_port(text.substr(colon + 1));
    if (!port) return port.error();
    return of(address, *port);
}

result<endpoint> endpoint::of(std::string_view address, std::uint16_t port) {
    if (address.find('\0') != std::string_view::npos) return errno_error(EINVAL);
    if (address.starts_with('[')) {
        if (!address.ends_with(']')) return errno_error(EINVAL);
        address = address.substr(1, address.size() - 2);
    }
    endpoint e;
    std::string host(address);
    if (::inet_pton(AF_INET, host.c_str(), &e.storage_.v4.sin_addr) == 1) {
        e.storage_.v4.sin_port = htons(port);
        return e;
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    if (const auto percent = host.find('%'); percent != std::string::npos) {
        const auto scope = parse_scope(host.substr(percent + 1));
        if (!scope) return scope.error();
        v6.sin6_scope_id = *scope;
        host.resize(percent);
    }
    if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) return errno_error(EINVAL);
    return from(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

std::uint16_t endpoint::port() const noexcept {
    switch (family()) {
        case AF_INET: return ntohs(storage_.v4.sin_port);
        case AF_INET6: return ntohs(storage_.v6.sin6_port);
        default: return 0;
    }
}

endpoint endpoint::with_port(std::uint16_t port) const noexcept {
    endpoint e = *this;
    if (family() == AF_INET) e.storage_.v4.sin_port = htons(port);
    if (family() == AF_INET6) e.storage_.v6.sin6_port = htons(port);
    return e;
}

std::string endpoint::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    std::string out;
    if (family() == AF_INET) {
        ::inet_ntop(AF_INET, &storage_.v4.sin_addr, text.data(), text.size());
        out.append(text.data()).append(1, ':').append(std::to_string(port()));
    } else if (family() == AF_INET6) {
        ::inet_ntop(AF_INET6, &storage_.v6.sin6_addr, text.data(), text.size());
        out.append(1, '[').append(text.data());
        if (const auto scope = storage_.v6.sin6_scope_id; scope != 0)
            out.append(1, '%').append(std::to_string(scope));
        out.append("]:").append(std::to_string(port()));
    } else {
        out.append(unix_prefix);
        const char* path = storage_.local.sun_path;
        const std::size_t room = length_ - std::min<std::size_t>(length_, path_offset);
        if (room != 0 && path[0] == '\0')
            out.append(1, '@').append(path + 1, room - 1);
        else
            out.append(path, ::strnlen(path, room));
    }
    return out;
}

bool operator==(const endpoint& a, const endpoint& b) noexcept {
    return a.length_ == b.length_ && std::memcmp(&a.storage_, &b.storage_, a.length_) == 0;
}

}  // namespace sluice
