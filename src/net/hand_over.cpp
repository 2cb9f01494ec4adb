// SPDX-License-Identifier: Apache-2.0
#include "sluice/hand_over.hpp"

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/kernel/descriptor_passing.hpp"
#include "sluice/error.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_listeners = 128;
constexpr std::string_view plain = "sluice hand-over 1";
constexpr std::string_view with_nic = "sluice hand-over 1, NIC";  // the last descriptor is its lock

}  // namespace

task<result<void>> hand_over(tcp_stream& to, const inheritance& what) {
    const int socket = to.native_handle();
    if (socket < 0) co_return errno_error(EOPNOTSUPP);
    if (what.listeners.empty() || what.listeners.size() > most_listeners)
        co_return errno_error(EINVAL);
    if (auto allowed = detail::check_user(socket); !allowed) co_return allowed;
    const std::string text(what.nic_lock >= 0 ? with_nic : plain);
    std::vector<int> descriptors = what.listeners;
    if (what.nic_lock >= 0) descriptors.push_back(what.nic_lock);
    if (auto sent = detail::send_descriptors(socket, text, descriptors); !sent) co_return sent;
    auto ready = co_await to.recv();
    if (!ready) co_return ready.error();
    co_return result<void>{};
}

result<predecessor> predecessor::find(const endpoint& at, std::chrono::milliseconds patience) {
    const auto connected = detail::connect_to(at.data(), at.size(), patience);
    if (!connected) return connected.error();
    predecessor found({}, *connected, patience);
    if (auto allowed = detail::check_user(*connected); !allowed) return allowed.error();
    auto got = detail::receive_descriptors(*connected);
    if (!got) return got.error();
    found.what_.listeners = std::move(got->second);
    if (found.what_.listeners.empty()) return errno_error(EBADMSG);
    if (got->first == plain) return found;
    if (got->first != with_nic) return errno_error(EBADMSG);
    found.what_.nic_lock = found.what_.listeners.back();
    found.what_.listeners.pop_back();
    return found;
}

predecessor::~predecessor() {
    for (const int fd : what_.listeners) detail::close_descriptor(fd);
    detail::close_descriptor(what_.nic_lock);
    detail::close_descriptor(connection_);
}

result<void> predecessor::dismiss() { return detail::send_and_await_end(connection_); }

}  // namespace sluice
