// SPDX-License-Identifier: Apache-2.0
//! Which rx queue the packets of a connection come by, and which reactor owns it.
#pragma once

#include <optional>

#include "sluice/endpoint.hpp"
#include "sluice/rss.hpp"

namespace sluice {

class reactor;
class tcp_stream;

//! The reactor, by its index, whose rx queue the last packet of the connection came by
//! (SO_INCOMING_NAPI_ID, and netlink for the NAPI of each queue); the first of those that share it,
//! unless the stream's own is among them. Nothing: not known, or the reactor has no queue of an
//! interface. Another one than its home's: `move_to()` it to have its bytes without copies again.
//! To be called on the stream's reactor.
std::optional<unsigned> queue_owner(const tcp_stream& stream);

//! Makes the rx queues of the service's other reactors readable from `home` now, and not when a
//! connection first needs one (net_stats::detours): for a service that means to drop CAP_NET_ADMIN,
//! which that takes. To be called on `home`'s thread, when every reactor has its queue;
//! kernel 6.19. Returns how many queues can be read, its own among them; 0: it has none of an
//! interface.
unsigned reach_all_queues(reactor& home);

//! The queue for TCP packets between two IPv4 or two IPv6 addresses by a NIC that hashes addresses
//! and ports. Nothing for other families and an empty table.
std::optional<unsigned> queue_of_flow(const rss_table& nic, const endpoint& from,
                                      const endpoint& to);

}  // namespace sluice
