// SPDX-License-Identifier: Apache-2.0
#include "zcrx/nic/genl.hpp"

#include <cerrno>
#include <cstring>

#include <linux/genetlink.h>

namespace sluice::detail {

attributes::attributes(const nlmsghdr& message) {
    for_each_attribute(message, sizeof(genlmsghdr), [this](const nlattr& a) { keep(&a); });
}

attributes::attributes(const nlattr* nest) {
    if (nest == nullptr) return;
    for_each_attribute(payload_of(*nest), payload_bytes(*nest),
                       [this](const nlattr& a) { keep(&a); });
}

void attributes::keep(const nlattr* a) noexcept {
    const unsigned type = type_of(*a);
    if (type < by_type_.size()) by_type_[type] = a;
}

const nlattr* attributes::find(unsigned type) const noexcept {
    return type < by_type_.size() ? by_type_[type] : nullptr;
}

std::optional<std::uint64_t> attributes::number(unsigned type) const noexcept {
    const nlattr* a = find(type);
    if (a == nullptr) return std::nullopt;
    const auto as = [&](auto number) -> std::uint64_t {
        std::memcpy(&number, payload_of(*a), sizeof number);
        return number;
    };
    switch (payload_bytes(*a)) {
        case 1: return as(std::uint8_t{});
        case 2: return as(std::uint16_t{});
        case 4: return as(std::uint32_t{});
        case 8: return as(std::uint64_t{});
        default: return std::nullopt;
    }
}

std::optional<unsigned> attributes::small(unsigned type) const noexcept {
    const auto n = number(type);
    if (!n) return std::nullopt;
    return static_cast<unsigned>(*n);
}

std::string attributes::text(unsigned type) const {
    const nlattr* a = find(type);
    if (a == nullptr) return {};
    return {payload_of(*a), ::strnlen(payload_of(*a), payload_bytes(*a))};
}

result<genl_family> genl_family::open(const char* name) {
    auto socket = netlink_socket::open(NETLINK_GENERIC);
    if (!socket) return socket.error();
    genl_family family(std::move(*socket), GENL_ID_CTRL);
    auto message = family.make(CTRL_CMD_GETFAMILY);
    message.put_text(CTRL_ATTR_FAMILY_NAME, name);
    std::optional<unsigned> id;
    const auto asked =
        family.ask(message, [&](const attributes& a) { id = a.small(CTRL_ATTR_FAMILY_ID); });
    if (!asked) return asked.error();
    if (!id) return errno_error(ENOENT);
    family.id_ = static_cast<std::uint16_t>(*id);
    return family;
}

netlink_message genl_family::make(std::uint8_t command, int flags) const {
    netlink_message made(id_, flags);
    made.put_header(genlmsghdr{.cmd = command, .version = 1, .reserved = 0});
    return made;
}

result<void> genl_family::ask(netlink_message& message,
                              const std::function<void(const attributes&)>& each) {
    return socket_.ask(message.get(), [&](const nlmsghdr& m) { each(attributes(m)); });
}

std::string genl_family::said() const {
    return socket_.said().empty() ? std::string{} : ": " + socket_.said();
}

}  // namespace sluice::detail
