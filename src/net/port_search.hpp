// SPDX-License-Identifier: Apache-2.0
//! Local ports with which a peer's packets come by a certain rx queue.
#pragma once

#include <cstdint>
#include <optional>

#include "sluice/placement.hpp"

namespace sluice::detail {

//! From first to last, both included.
struct port_range {
    std::uint16_t first;
    std::uint16_t last;
};

//! Those that the kernel chooses from: net.ipv4.ip_local_port_range.
port_range local_ports();

class port_search {
public:
    //! `local`: the address that the connection will have. `start`: any number, so that searches
    //! begin in different places.
    port_search(const rss_table& nic, unsigned queue, const endpoint& local, const endpoint& peer,
                port_range among, std::uint32_t start) noexcept;

    //! Each fitting port once. Nothing: that was all.
    std::optional<std::uint16_t> next();

private:
    const rss_table& nic_;
    unsigned queue_;
    endpoint local_;
    endpoint peer_;
    port_range among_;
    std::uint32_t count_;  // ports in all
    std::uint32_t at_;     // the next one to look at
    std::uint32_t looked_ = 0;
};

}  // namespace sluice::detail
