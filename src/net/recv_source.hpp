// SPDX-License-Identifier: Apache-2.0
//! The receiving side of a connection: a multishot receive, and what it has brought.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "net/slice_queue.hpp"
#include "runtime/operation.hpp"
#include "sluice/result.hpp"
#include "sluice/stream_awaiters.hpp"

namespace sluice::detail {

class lease_account;
class net_context;
class supply;

//! Armed at the first receive and again whenever it has ended and there is room. Each arming names
//! the bytes it may deliver (the credit), so that what waits here never exceeds
//! reactor_options::max_pending_bytes; where the kernel can't take a credit, the receive is
//! cancelled when that much waits.
class recv_source final : public operation {
public:
    recv_source(connection& owner, net_context& net) noexcept;

    //! From the next arming on the bytes come through the reactor's rx queue, which must be there.
    //! Throws bad_alloc.
    void use_zero_copy();
    //! Nothing will be received any more: gives back what was granted.
    void settle_account() noexcept;

    //! Something to take, or nothing more to come.
    [[nodiscard]] bool has_result() const noexcept { return !slices_.empty() || ended_; }
    [[nodiscard]] std::size_t pending() const noexcept { return pending_; }

    //! Arms the receive if it isn't and `w` waits for it. One waiter at a time.
    void wait(receive_awaiter& w);
    void forget(receive_awaiter& w) noexcept;

    //! The first slice, or why there is none. has_result() must hold.
    result<rx_buffer> take();

    //! Copies to `to` what fits. has_result() must hold.
    result<std::size_t> take_into(std::span<std::byte> to);

    //! Moves the slices that wait here and are lent by `source` to the heap, so that its buffers go
    //! back; returns how many.
    std::size_t evacuate(const buffer_source& source) noexcept;
    [[nodiscard]] std::size_t waiting_slices() const noexcept { return slices_.count(); }

    //! The connection is being closed: nothing is armed any more, the waiter ends with ECANCELED.
    void close() noexcept;

    // For a connection that moves to another reactor.

    //! Nothing is armed from now on, and what is armed ends; the owner hears of it.
    void pause() noexcept;
    //! The move came to nothing.
    void go_on() noexcept;
    [[nodiscard]] bool has_waiter() const noexcept { return waiter_ != nullptr; }
    //! What has been received and not taken, and why nothing more will come.
    struct remains {
        slice_queue slices;
        std::size_t pending = 0;
        bool ended = false;
        boost::system::error_code why_ended;
    };
    //! Gives it away, while paused and not live.
    void give_up(remains& to) noexcept;
    void adopt(remains& from) noexcept;
    //! The move is done: whoever waits here has missed it.
    void gone() noexcept;

    //! A buffer came back: arms a receive that ended for want of one.
    void rearm_starved() noexcept;

    //! None will come back soon: reads once into heap memory. False: there was none.
    [[nodiscard]] bool receive_to_heap() noexcept;
    //! That was tried, and the bytes are where only the rx queue can deliver them from.
    [[nodiscard]] bool unreadable() const noexcept { return unreadable_; }

private:
    friend class starved_list;

    static void prepare(operation& op, io_uring_sqe& sqe) noexcept;
    static void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    void deliver(std::uint32_t flags, std::uint32_t size) noexcept;
    void deliver_from_heap(std::int32_t result) noexcept;
    void keep(rx_buffer&& slice) noexcept;
    void on_terminal(std::int32_t result, bool had_data) noexcept;
    void on_failure(std::int32_t error_number) noexcept;
    void arm_if_room() noexcept;
    [[nodiscard]] bool has_room() const noexcept;
    [[nodiscard]] std::size_t pending_limit() const noexcept;
    void end(boost::system::error_code why) noexcept;
    void wake_waiter() noexcept;
    void taken(std::size_t bytes) noexcept;
    [[nodiscard]] bool worth_copying(const rx_buffer& slice) const noexcept;
    [[nodiscard]] bool hoards() const noexcept;
    [[nodiscard]] supply& draws_on() const noexcept;
    void starve() noexcept;

    connection& owner_;
    net_context& net_;
    slice_queue slices_;
    rx_buffer heap_;            // where a receive without a provided buffer reads to, while it does
    std::size_t pending_ = 0;   // bytes in slices_
    std::uint32_t room_ = 0;    // bytes that may still wait here, when it was armed
    std::uint32_t credit_ = 0;  // bytes that the armed receive may still deliver
    bool ended_ = false;
    bool closed_ = false;
    bool starved_ = false;
    bool paused_ = false;
    bool was_armed_ = false;  // when it was paused
    bool zero_copy_ = false;
    bool unreadable_ = false;
    std::uint32_t cap_ = 0;             // chunks that this connection may hold
    lease_account* account_ = nullptr;  // with zero copy
    boost::system::error_code why_ended_;
    receive_awaiter* waiter_ = nullptr;
    recv_source* starved_prev_ = nullptr;
    recv_source* starved_next_ = nullptr;
};

//! Receives that wait for buffers, first come first served.
class starved_list {
public:
    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
    void push(recv_source& s) noexcept;
    void remove(recv_source& s) noexcept;
    recv_source& front() noexcept { return *head_; }

private:
    recv_source* head_ = nullptr;
    recv_source* tail_ = nullptr;
};

}  // namespace sluice::detail
