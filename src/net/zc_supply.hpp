// SPDX-License-Identifier: Apache-2.0
//! An rx queue as a supply: what zero-copy receives of a reactor draw on, and how much of it each
//! connection is granted.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "net/supply.hpp"
#include "zcrx/rx_queue.hpp"
#include "zcrx/shared_queues.hpp"

namespace sluice::detail {

class zc_supply final : public supply {
public:
    //! The reactor's rx queue, if its options ask for one and it can be had; the log says why not.
    //! Throws boost::system::system_error when receive_mode::zc demands what can't be had.
    //! `taken`: somebody else has it now, and ask_again() may be asked.
    static std::unique_ptr<zc_supply> open(net_context& net, bool& taken);
    //! Null: it is still taken, and `taken` says so, or can't be had for another reason.
    static std::unique_ptr<zc_supply> ask_again(net_context& net, bool& taken);
    zc_supply(net_context& net, rx_queue& queue, rx_queue::user& user);
    ~zc_supply();

    [[nodiscard]] rx_queue& queue() const noexcept { return queue_; }

    //! `via`: 0 is the reactor's own queue, further ones below queues() are those of the service's
    //! other reactors.
    void prepare(io_uring_sqe& sqe, int descriptor, std::uint32_t limit,
                 std::uint32_t via) const noexcept {
        rx_queue::prepare(sqe, via == 0 ? user_.id : others_[via - 1].user->id, descriptor, limit);
    }
    rx_buffer take(std::uint64_t offset, std::uint32_t size, lease_account& account,
                   std::uint32_t via) noexcept {
        if (via != 0) return take_elsewhere(*others_[via - 1].queue, offset, size, account);
        rx_buffer slice = queue_.take(offset, size, account);
        observe();
        return slice;
    }

    //! How many queues a receive may name. Looks for those of other reactors that are not known
    //! yet.
    [[nodiscard]] std::uint32_t queues() noexcept;

    //! Room is granted before: the chunks that a connection may hold, so that with those of all
    //! others, what the NIC has posted, and a reserve for copies they fit the area. 0: its slices
    //! are copied at delivery.
    [[nodiscard]] std::uint32_t grant() noexcept;
    //! Chunks that what waits in the receive buffer of a socket may take: on the queue of a NIC it
    //! lies in the area. They are set aside until withdraw().
    [[nodiscard]] std::uint32_t reserve(int descriptor) noexcept;
    void withdraw(std::uint32_t chunks) noexcept {
        if (chunks != no_cap) granted_ -= chunks;
    }

    //! A receive found bytes elsewhere than in the area: whether they can't be copied there either.
    //! The first time the log says so.
    [[nodiscard]] bool refuses_copies() noexcept;

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
    static rx_buffer take_elsewhere(rx_queue& queue, std::uint64_t offset, std::uint32_t size,
                                    lease_account& account) noexcept;
    void set_budget() noexcept;
    void renew_budget() noexcept;
    void on_queue() noexcept;

    rx_queue& queue_;
    rx_queue::user& user_;  // this reactor
    std::vector<joined_queue> others_;
    std::uint32_t granted_ = 0;  // chunks, to all connections of this reactor and their sockets
    std::uint32_t budget_ = 0;   // receives to arm before another chunk has come back
    bool refused_ = false;       // copies, and the log has said so
    bool hooked_ = false;        // hears of returns: is, or has become, the producer
};

}  // namespace sluice::detail
