// SPDX-License-Identifier: Apache-2.0
//! Netlink: messages, their attributes, and a socket for requests. Not simulated. Written here
//! because Debian's libmnl has no static library, and the little that is needed is small.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include <linux/netlink.h>

#include "sluice/result.hpp"

namespace sluice::detail {

inline unsigned type_of(const nlattr& a) noexcept { return a.nla_type & NLA_TYPE_MASK; }
inline const char* payload_of(const nlattr& a) noexcept {
    return reinterpret_cast<const char*>(&a) + NLA_HDRLEN;
}
inline std::size_t payload_bytes(const nlattr& a) noexcept {
    return static_cast<std::size_t>(a.nla_len - NLA_HDRLEN);
}

//! Each attribute of a piece of memory that holds nothing else. What is cut off is left out.
template <class Each>
void for_each_attribute(const char* at, std::size_t bytes, Each each) {
    while (bytes >= sizeof(nlattr)) {
        const auto& a = *reinterpret_cast<const nlattr*>(at);
        if (a.nla_len < sizeof(nlattr) || a.nla_len > bytes) return;
        each(a);
        const std::size_t step = NLA_ALIGN(std::size_t{a.nla_len});
        if (step >= bytes) return;
        at += step;
        bytes -= step;
    }
}

//! The attributes of a message, behind a header of its family of so many bytes.
template <class Each>
void for_each_attribute(const nlmsghdr& message, std::size_t header_bytes, Each each) {
    const std::size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(header_bytes);
    if (message.nlmsg_len > skip)
        for_each_attribute(reinterpret_cast<const char*>(&message) + skip, message.nlmsg_len - skip,
                           each);
}

//! A request that is being written. There is room for what NIC control asks, which is checked.
class netlink_message {
public:
    netlink_message(std::uint16_t type, int flags) noexcept;

    //! The family's own header, which comes before all attributes.
    template <class Header>
    void put_header(const Header& header) {
        append(&header, sizeof header);
    }
    void put(unsigned type, const void* data, std::size_t bytes);
    //! In the machine's byte order, 1 to 8 bytes wide.
    template <class Number>
    void put_number(unsigned type, Number number) {
        put(type, &number, sizeof number);
    }
    //! With the zero byte at its end.
    void put_text(unsigned type, const std::string& text) {
        put(type, text.c_str(), text.size() + 1);
    }
    //! What is put until close_nest() gets the result is inside.
    std::size_t open_nest(unsigned type);
    void close_nest(std::size_t nest) noexcept;

    nlmsghdr& get() noexcept { return *reinterpret_cast<nlmsghdr*>(bytes_.data()); }

private:
    void append(const void* data, std::size_t bytes);
    alignas(nlmsghdr) std::array<char, 1024> bytes_{};
};

//! One request at a time, answered before ask() returns.
class netlink_socket {
public:
    //! A bus such as NETLINK_GENERIC.
    static result<netlink_socket> open(int bus);
    netlink_socket(netlink_socket&& o) noexcept
        : fd_(std::exchange(o.fd_, -1)), sequence_(o.sequence_), said_(std::move(o.said_)) {}
    netlink_socket& operator=(netlink_socket&&) = delete;
    ~netlink_socket();

    //! Sends the message and gives each message of the answer to `each`. An error is the kernel's
    //! errno; what the kernel says besides is in said().
    result<void> ask(nlmsghdr& message, const std::function<void(const nlmsghdr&)>& each);

    [[nodiscard]] const std::string& said() const noexcept { return said_; }

private:
    explicit netlink_socket(int fd) noexcept : fd_(fd) {}
    //! Whether the answer is complete.
    result<bool> take(const char* data, std::size_t bytes,
                      const std::function<void(const nlmsghdr&)>& each);

    int fd_;
    std::uint32_t sequence_ = 0;
    std::string said_;
};

}  // namespace sluice::detail
