// SPDX-License-Identifier: Apache-2.0
#include "net/port_search.hpp"

#include <sstream>

#include "runtime/kernel/process.hpp"

namespace sluice::detail {

port_range local_ports() {
    static const port_range found = [] {
        constexpr port_range usual{32768, 60999};
        const auto line = first_line("/proc/sys/net/ipv4/ip_local_port_range");
        if (!line) return usual;
        std::istringstream in(*line);
        port_range r{};
        if (!(in >> r.first >> r.last) || r.first == 0 || r.first > r.last) return usual;
        return r;
    }();
    return found;
}

port_search::port_search(const rss_table& nic, unsigned queue, const endpoint& local,
                         const endpoint& peer, port_range among, std::uint32_t start) noexcept
    : nic_(nic),
      queue_(queue),
      local_(local),
      peer_(peer),
      among_(among),
      count_(std::uint32_t{among.last} - among.first + 1),
      at_(start % count_) {}

std::optional<std::uint16_t> port_search::next() {
    while (looked_ < count_) {
        const auto port = static_cast<std::uint16_t>(among_.first + at_);
        at_ = at_ + 1 == count_ ? 0 : at_ + 1;
        ++looked_;
        if (queue_of_flow(nic_, peer_, local_.with_port(port)) == queue_) return port;
    }
    return std::nullopt;
}

}  // namespace sluice::detail
