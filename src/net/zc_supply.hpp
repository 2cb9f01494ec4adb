// SPDX-License-Identifier: Apache-2.0
//! An rx queue as a supply: what zero-copy receives of a reactor draw on, and how much of it each
//! connection is granted.
#pragma once

#include <cstdint>
#include <memory>

#include "net/supply.hpp"
#include "zcrx/rx_queue.hpp"

namespace sluice::detail {

class zc_supply final : public supply {
public:
    //! The reactor's rx queue, if its options ask for one and it can be had; the log says why not.
    //! Throws boost::system::system_error when receive_mode::zc demands what can't be had.
    static std::unique_ptr<zc_supply> open(net_context& net);
    zc_supply(net_context& net, rx_queue& queue, rx_queue::user& user);
    ~zc_supply();

    [[nodiscard]] rx_queue& queue() const noexcept { return queue_; }

    void prepare(io_uring_sqe& sqe, int descriptor, std::uint32_t limit) const noexcept {
        rx_queue::prepare(sqe, user_.id, descriptor, limit);
    }
    rx_buffer take(std::uint64_t offset, std::uint32_t size, lease_account& account) noexcept {
        rx_buffer slice = queue_.take(offset, size, account);
        observe();
        return slice;
    }

    //! Room is granted before: the chunks that a connection may hold, so that with those of all
    //! others, what the NIC has posted, and a reserve for copies they fit the area. 0: its slices
    //! are copied at delivery.
    [[nodiscard]] std::uint32_t grant() noexcept;
    void withdraw(std::uint32_t chunks) noexcept {
        if (chunks != no_cap) granted_ -= chunks;
    }

    void collect() noexcept;

private:
    static constexpr std::uint32_t no_cap = UINT32_MAX;
    [[nodiscard]] std::uint32_t room() const noexcept override;
    void want() noexcept override;
    [[nodiscard]] bool heal() noexcept override;
    [[nodiscard]] bool grow() noexcept override;
    void armed_again() noexcept override { --budget_; }
    void recovered() noexcept override;
    [[nodiscard]] bool is_producer() const noexcept;
    void renew_budget() noexcept;

    rx_queue& queue_;
    rx_queue::user& user_;       // this reactor
    std::uint32_t granted_ = 0;  // chunks, to all connections of this reactor
    std::uint32_t budget_ = 0;   // receives to arm before another chunk has come back
    bool hooked_ = false;        // hears of returns: is, or has become, the producer
};

}  // namespace sluice::detail
