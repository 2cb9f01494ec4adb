// SPDX-License-Identifier: Apache-2.0
//! Generic netlink: a family of commands such as "ethtool" or "netdev".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "runtime/kernel/netlink.hpp"

namespace sluice::detail {

//! The attributes of a message or of a nest, by type.
class attributes {
public:
    //! Those of a generic netlink message.
    explicit attributes(const nlmsghdr& message);
    //! Those in a nest.
    explicit attributes(const nlattr* nest);

    [[nodiscard]] const nlattr* find(unsigned type) const noexcept;
    //! An unsigned number of 1, 2, 4 or 8 bytes.
    [[nodiscard]] std::optional<std::uint64_t> number(unsigned type) const noexcept;
    [[nodiscard]] std::optional<unsigned> small(unsigned type) const noexcept;
    [[nodiscard]] std::string text(unsigned type) const;

private:
    void keep(const nlattr* attribute) noexcept;
    std::array<const nlattr*, 64> by_type_{};
};

class genl_family {
public:
    static result<genl_family> open(const char* name);

    //! A message without attributes; `flags`: NLM_F_DUMP or 0.
    [[nodiscard]] netlink_message make(std::uint8_t command, int flags = 0) const;
    result<void> ask(netlink_message& message, const std::function<void(const attributes&)>& each);
    //! What the kernel said about the last error, with a colon before it; else nothing.
    [[nodiscard]] std::string said() const;

private:
    genl_family(netlink_socket s, std::uint16_t id) : socket_(std::move(s)), id_(id) {}
    netlink_socket socket_;
    std::uint16_t id_;
};

}  // namespace sluice::detail
