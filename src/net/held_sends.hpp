// SPDX-License-Identifier: Apache-2.0
//! The zero-copy sends of a reactor: how much memory they may keep, and the connections that
//! outlive their streams for them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sluice/timer.hpp"

namespace sluice::detail {

class connection;
class net_context;

class lingering_list;

//! What a connection that lingers has for it.
struct lingering_links {
    lingering_list* list = nullptr;  // that it is in
    connection* previous = nullptr;
    connection* next = nullptr;
    std::int64_t until = timer_set::never;
};

//! Connections in the order in which they came.
class lingering_list {
public:
    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
    [[nodiscard]] connection* first() const noexcept { return head_; }
    void push(connection& c) noexcept;
    void remove(connection& c) noexcept;

private:
    connection* head_ = nullptr;
    connection* tail_ = nullptr;
};

//! A connection that is closed while the kernel still sends from our memory can't close its
//! descriptor: afterwards nothing but the peer would end that. It lingers: shut down, so that the
//! peer sees the end as soon as it has everything, and reset when it takes too long, when a limit
//! needs the memory, and when the reactor stops.
class held_sends final : private timer_node {
public:
    static constexpr std::size_t never = SIZE_MAX;

    explicit held_sends(net_context& net) noexcept;
    ~held_sends();

    //! The size from which on sends are zero-copy; `never` without.
    [[nodiscard]] std::size_t from() const noexcept { return from_; }
    //! Whether so many pieces can be sent from a fixed buffer at once, and are worth one:
    //! registering pins a lot of memory, so that not before a send has gone out without a copy.
    [[nodiscard]] bool fixed(std::size_t pieces) const noexcept {
        return pays_ && (pieces == 1 || fixed_vectors_);
    }
    //! A send was not copied.
    void paid() noexcept { pays_ = true; }

    //! How many bytes a further zero-copy send of `c` may keep: at least from(), or 0, which
    //! counts.
    [[nodiscard]] std::size_t room(const connection& c) noexcept;

    //! `c` is closed and shut down, and has sends that are not over.
    void linger(connection& c) noexcept;
    //! The same for what a connection has left here that lives on another reactor: no time limit.
    void linger_moved(connection& c) noexcept;
    //! Its sends are over.
    void forget(connection& c) noexcept;

    //! See reactor_local::on_stop().
    void on_stop() noexcept;

private:
    void on_timer() noexcept override;
    void arm() noexcept;
    [[nodiscard]] std::int64_t deadline() const noexcept;

    net_context& net_;
    std::size_t from_ = never;
    bool fixed_vectors_ = false;
    bool pays_ = false;
    bool stopping_ = false;
    lingering_list lingering_;  // deadlines in order
    lingering_list moved_;      // without, until the reactor stops
};

}  // namespace sluice::detail
