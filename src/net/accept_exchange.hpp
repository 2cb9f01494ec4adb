// SPDX-License-Identifier: Apache-2.0
//! What the acceptors of a listener_group on different reactors have in common: each hands the
//! others connections that belong there, and together they learn how the interface numbers queues.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "sluice/reactor.hpp"
#include "sluice/steering.hpp"

namespace sluice::detail {

class acceptor;

//! Whether an interface records queue + 0 or queue + 1, told by connections of which both the
//! socket that steering led to and the true queue are known.
class offset_vote {
public:
    explicit offset_vote(std::uint32_t in_use) noexcept : in_use_(in_use) {}
    [[nodiscard]] std::uint32_t in_use() const noexcept { return in_use_; }

    //! A connection by `queue` came to the socket that is for the queue `meant`. True: the other
    //! number is right, and in use from now on.
    bool cast(unsigned meant, unsigned queue) noexcept;

private:
    static constexpr std::uint32_t enough = 8;
    std::uint32_t in_use_;
    std::array<std::uint32_t, 2> votes_{};
};

class accept_exchange {
public:
    accept_exchange(kernel& k, const steering_options& steer, std::uint32_t limit)
        : kernel_(k), steer_(steer), vote_(steer.queue_offset), limit_(limit) {}

    void join(acceptor& a, reactor& home);
    //! Gives the descriptors that were handed to it and have not arrived.
    std::vector<int> leave(acceptor& a) noexcept;

    //! Gives the connection to the acceptor on that reactor of the same service. From any reactor.
    //! False: there is none, or too much waits there; the descriptor is still the caller's.
    bool hand_over(reactor& from, unsigned to, int descriptor) noexcept;

    //! A connection by `queue` came to the group's socket of that number. `first`: any socket of
    //! the group. With the wrong steering_options::queue_offset it is put right.
    void learn(int first, unsigned socket, unsigned queue) noexcept;

private:
    struct place {
        acceptor* here;
        reactor* home;
        const void* service;
        std::vector<int> arrived;  // on their way
    };
    void arrive(acceptor& a) noexcept;

    kernel& kernel_;
    std::mutex mutex_;
    std::vector<place> places_;
    steering_options steer_;
    offset_vote vote_;
    std::uint32_t limit_;  // that may wait for an acceptor
};

}  // namespace sluice::detail
