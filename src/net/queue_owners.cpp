// SPDX-License-Identifier: Apache-2.0
#include "net/queue_owners.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <new>

#include "runtime/kernel/kernel.hpp"
#include "runtime/kernel/process.hpp"

namespace sluice::detail {

namespace {
constexpr auto look_again_after = std::chrono::milliseconds(100);
}  // namespace

bool queue_owners::in_use() const noexcept {
    const zcrx_options& zcrx = home_.options().zcrx;
    return zcrx.wanted() && !zcrx.device_less;
}

unsigned queue_owners::sharers() const noexcept {
    return std::max(home_.options().zcrx.reactors_per_queue, 1U);
}

unsigned queue_owners::own_queue() const noexcept {
    return home_.options().zcrx.first_queue + home_.index() / sharers();
}

bool queue_owners::owns(unsigned queue) const noexcept { return queue == own_queue(); }

std::optional<unsigned> queue_owners::first_owner(unsigned queue) const noexcept {
    const unsigned first = home_.options().zcrx.first_queue;
    if (queue < first) return std::nullopt;
    return (queue - first) * sharers();
}

std::optional<unsigned> queue_owners::queue_of(int descriptor) noexcept {
    if (!in_use()) return std::nullopt;
    unsigned napi = 0;
    socklen_t size = sizeof napi;
    const int failed = kernel_.get_option(descriptor, SOL_SOCKET, SO_INCOMING_NAPI_ID, &napi, size);
    if (failed < 0 || napi == 0) return std::nullopt;
    if (const auto queue = find(napi)) return queue;
    if (looked_ && home_.now() - *looked_ < look_again_after) return std::nullopt;
    look();
    return find(napi);
}

std::optional<unsigned> queue_owners::find(unsigned napi) const noexcept {
    for (const queue_napi& q : known_)
        if (q.napi == napi) return q.queue;
    return std::nullopt;
}

void queue_owners::look() noexcept {
    looked_ = home_.now();
    try {
        auto netdev = netdev_netlink::open(interface_index(home_.options().zcrx.interface));
        if (netdev) known_ = netdev->rx_napis();
    } catch (const std::bad_alloc&) {
        known_.clear();  // until the next look
    }
}

}  // namespace sluice::detail
