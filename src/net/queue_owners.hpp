// SPDX-License-Identifier: Apache-2.0
//! Which rx queue a socket's packets come by, and which reactors of the service own it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sluice/reactor.hpp"
#include "zcrx/nic/netdev.hpp"

namespace sluice::detail {

class kernel;

//! Of one reactor. Knows the NAPI of each queue of its interface, and asks the kernel again when a
//! socket names one that it does not know: they get other numbers when queues are set up anew.
class queue_owners {
public:
    queue_owners(reactor& home, kernel& below) noexcept : home_(home), kernel_(below) {}

    //! Whether the reactor's options name an interface.
    [[nodiscard]] bool in_use() const noexcept;

    //! The queue by which the last packet came: SO_INCOMING_NAPI_ID, socket(7). Nothing: it came
    //! over another interface, or the kernel does not say.
    [[nodiscard]] std::optional<unsigned> queue_of(int descriptor) noexcept;

    //! Whether it is this reactor's, perhaps with others.
    [[nodiscard]] bool owns(unsigned queue) const noexcept;
    //! The first of those whose it is. Nothing for queues below the service's own; whether the
    //! service has that many reactors is not looked at.
    [[nodiscard]] std::optional<unsigned> first_owner(unsigned queue) const noexcept;
    //! The reactor's own.
    [[nodiscard]] unsigned own_queue() const noexcept;
    //! So many reactors, from the first owner on, share a queue.
    [[nodiscard]] unsigned sharers() const noexcept;

private:
    void look() noexcept;
    [[nodiscard]] std::optional<unsigned> find(unsigned napi) const noexcept;

    reactor& home_;
    kernel& kernel_;
    std::vector<queue_napi> known_;
    std::optional<reactor::clock::time_point> looked_;
};

}  // namespace sluice::detail
