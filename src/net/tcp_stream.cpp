// SPDX-License-Identifier: Apache-2.0
#include "sluice/tcp_stream.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <new>

#include "net/connection.hpp"
#include "net/net_context.hpp"
#include "runtime/home_check.hpp"

namespace sluice {

namespace {

constexpr int tcp_close = 7;  // of the states in the kernel's net/tcp_states.h

using address_call = int (detail::kernel::*)(int, sockaddr*, socklen_t&) noexcept;

void check_home(const detail::connection& c) noexcept {
    if (!c.orphaned()) detail::check_home(c.net().home(), "a tcp_stream");
}

result<endpoint> address_of(const detail::connection& c, address_call call) {
    check_home(c);
    if (c.net().fixed()) return errno_error(EOPNOTSUPP);
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const int failed =
        (c.net().below().*call)(c.descriptor(), reinterpret_cast<sockaddr*>(&address), length);
    if (failed < 0) return errno_error(-failed);
    return endpoint::from(reinterpret_cast<const sockaddr*>(&address), length);
}

}  // namespace

result<endpoint> detail::peer_of(const connection& c) {
    return address_of(c, &kernel::peer_address);
}

void tcp_stream::abort() noexcept {
    if (connection_ == nullptr) return;
    check_home(*connection_);
    connection_->reset_on_close();
    drop();
}

result<void> tcp_stream::set_option(int level, int name, int value) noexcept {
    check_home(*connection_);
    if (connection_->net().fixed()) return errno_error(EOPNOTSUPP);
    const int failed = connection_->net().below().set_option(connection_->descriptor(), level, name,
                                                             &value, sizeof value);
    if (failed < 0) return errno_error(-failed);
    return {};
}

result<int> tcp_stream::option(int level, int name) const noexcept {
    check_home(*connection_);
    // `return errno_error()` would choose the value: an int can't be told from an error code's.
    if (connection_->net().fixed()) return {boost::system::in_place_error, errno_error(EOPNOTSUPP)};
    int value = 0;
    socklen_t length = sizeof value;
    const int failed = connection_->net().below().get_option(connection_->descriptor(), level, name,
                                                             &value, length);
    if (failed < 0) return {boost::system::in_place_error, errno_error(-failed)};
    return value;
}

result<endpoint> tcp_stream::peer() const { return detail::peer_of(*connection_); }

result<endpoint> tcp_stream::local() const {
    return address_of(*connection_, &detail::kernel::local_address);
}

result<tcp_information> tcp_stream::information() const {
    check_home(*connection_);
    if (connection_->net().fixed()) return errno_error(EOPNOTSUPP);
    tcp_info raw{};
    socklen_t length = sizeof raw;
    const int failed = connection_->net().below().get_option(connection_->descriptor(), IPPROTO_TCP,
                                                             TCP_INFO, &raw, length);
    if (failed < 0) return errno_error(-failed);
    tcp_information i;
    i.round_trip = std::chrono::microseconds(raw.tcpi_rtt);
    i.round_trip_variance = std::chrono::microseconds(raw.tcpi_rttvar);
    i.congestion_window = raw.tcpi_snd_cwnd;
    i.segment_size = raw.tcpi_snd_mss;
    i.retransmitted = raw.tcpi_total_retrans;
    i.disconnected = raw.tcpi_state == tcp_close;
    if (i.disconnected) return i;  // what waits will not be sent
    i.unacknowledged = raw.tcpi_unacked;
    i.unsent = raw.tcpi_notsent_bytes;
    return i;
}

std::size_t tcp_stream::pending() const noexcept {
    check_home(*connection_);
    return connection_->receiving().pending();
}

reactor& tcp_stream::home() const noexcept { return connection_->net().home(); }

int tcp_stream::native_handle() const noexcept {
    return connection_->net().fixed() ? -1 : connection_->descriptor();
}

}  // namespace sluice
