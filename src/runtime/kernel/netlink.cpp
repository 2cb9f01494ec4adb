// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/netlink.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "runtime/fatal.hpp"

namespace sluice::detail {

namespace {

constexpr std::size_t answer_bytes = 64 * 1024;  // more than the kernel puts in one datagram

//! The text that follows an error: the kernel's extended acknowledgement.
std::string text_of(const nlmsghdr& message, const nlmsgerr& e) {
    if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
    std::size_t skip = sizeof e;
    if ((message.nlmsg_flags & NLM_F_CAPPED) == 0) skip += e.msg.nlmsg_len - sizeof(nlmsghdr);
    std::string text;
    for_each_attribute(message, skip, [&](const nlattr& a) {
        if (type_of(a) == NLMSGERR_ATTR_MSG)
            text.assign(payload_of(a), ::strnlen(payload_of(a), payload_bytes(a)));
    });
    return text;
}

}  // namespace

netlink_message::netlink_message(std::uint16_t type, int flags) noexcept {
    get().nlmsg_len = NLMSG_HDRLEN;
    get().nlmsg_type = type;
    get().nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
}

void netlink_message::append(const void* data, std::size_t bytes) {
    const std::size_t end = get().nlmsg_len + NLMSG_ALIGN(bytes);
    if (end > bytes_.size()) fatal("a netlink request is too long");
    if (bytes > 0) std::memcpy(bytes_.data() + get().nlmsg_len, data, bytes);
    get().nlmsg_len = static_cast<std::uint32_t>(end);
}

void netlink_message::put(unsigned type, const void* data, std::size_t bytes) {
    const nlattr head{static_cast<std::uint16_t>(NLA_HDRLEN + bytes),
                      static_cast<std::uint16_t>(type)};
    append(&head, sizeof head);
    append(data, bytes);
}

std::size_t netlink_message::open_nest(unsigned type) {
    const std::size_t at = get().nlmsg_len;
    put(type | NLA_F_NESTED, nullptr, 0);
    return at;
}

void netlink_message::close_nest(std::size_t nest) noexcept {
    auto& head = *reinterpret_cast<nlattr*>(bytes_.data() + nest);
    head.nla_len = static_cast<std::uint16_t>(get().nlmsg_len - nest);
}

result<netlink_socket> netlink_socket::open(int bus) {
    const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, bus);
    if (fd < 0) return errno_error(errno);
    netlink_socket made(fd);
    const int on = 1;
    // Without them errors are told without words, which is all that is lost.
    static_cast<void>(::setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on));
    static_cast<void>(::setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on));
    return made;
}

netlink_socket::~netlink_socket() {
    if (fd_ >= 0) ::close(fd_);
}

result<void> netlink_socket::ask(nlmsghdr& message,
                                 const std::function<void(const nlmsghdr&)>& each) {
    said_.clear();
    message.nlmsg_seq = ++sequence_;
    // Not bound: the kernel gives the socket an address with the first message.
    if (::send(fd_, &message, message.nlmsg_len, 0) < 0) return errno_error(errno);
    std::vector<char> answer(answer_bytes);
    for (;;) {
        const ssize_t got = ::recv(fd_, answer.data(), answer.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno_error(errno);
        const auto complete = take(answer.data(), static_cast<std::size_t>(got), each);
        if (!complete) return complete.error();
        if (*complete) return {};
    }
}

result<bool> netlink_socket::take(const char* at, std::size_t bytes,
                                  const std::function<void(const nlmsghdr&)>& each) {
    while (bytes >= sizeof(nlmsghdr)) {
        const auto& message = *reinterpret_cast<const nlmsghdr*>(at);
        if (message.nlmsg_len < sizeof(nlmsghdr) || message.nlmsg_len > bytes)
            return error_result<bool>(errno_error(EBADMSG));
        const char* payload = at + NLMSG_HDRLEN;
        const std::size_t step = NLMSG_ALIGN(std::size_t{message.nlmsg_len});
        at += std::min(step, bytes);
        bytes -= std::min(step, bytes);
        if (message.nlmsg_seq != sequence_) continue;  // of a request that was given up
        if (message.nlmsg_type == NLMSG_ERROR) {
            const auto& e = *reinterpret_cast<const nlmsgerr*>(payload);
            said_ = text_of(message, e);
            if (e.error != 0) return error_result<bool>(errno_error(-e.error));
            return true;
        }
        if (message.nlmsg_type == NLMSG_DONE) {
            const int status = *reinterpret_cast<const int*>(payload);
            if (status < 0) return error_result<bool>(errno_error(-status));
            return true;
        }
        each(message);
    }
    return false;
}

}  // namespace sluice::detail
