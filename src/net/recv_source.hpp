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

//! Armed at the first receive and again when it has ended and all that it brought has been taken.
//! Each arming names the bytes it may deliver (the credit): reactor_options::max_pending_bytes,
//! which what waits here never exceeds; where the kernel can't take a credit, the receive is
//! cancelled when that much waits.
class recv_source : public operation {
public:
    recv_source() noexcept : operation(prepare, complete) {}

    //! From the next arming on the bytes come through the reactor's rx queue, which must be there.
    //! Throws bad_alloc.
    void use_zero_copy();
    //! The reactor has an rx queue now: what is armed ends, and the next arming is without copies.
    void climb() noexcept;
    //! Nothing will be received any more: gives back what was granted.
    void settle_account() noexcept;

    //! Something to take, or nothing more to come.
    [[nodiscard]] bool has_result() const noexcept {
        return !slices_.empty() || ended_ || elsewhere_;
    }
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
        std::uint32_t pending = 0;
        bool ended = false;
        brief_error why_ended;
    };
    //! Gives it away, while paused and not live.
    void give_up(remains& to) noexcept;
    void adopt(remains& from) noexcept;
    //! The move is done: whoever waits here has missed it.
    void gone() noexcept;

    //! After the last receive: closes the descriptor. The owner hears when it is done.
    void close_descriptor() noexcept;

    //! A buffer came back: arms a receive that ended for want of one.
    void rearm_starved() noexcept;

    //! None will come back soon: reads once into heap memory. False: there was none.
    [[nodiscard]] bool receive_to_heap() noexcept;
    //! That was tried, and the bytes are where only the rx queue can deliver them from.
    [[nodiscard]] bool unreadable() const noexcept { return unreadable_; }

protected:
    ~recv_source();

private:
    friend class starved_list;

    //! What only receives without copies need.
    struct zero_copy_state {
        std::uint32_t via = 0;       // the queue that receives name, see zc_supply
        std::uint32_t misses = 0;    // queues in a row that did not have the bytes
        std::uint32_t cap = 0;       // chunks that this connection may hold
        std::uint32_t fill = 0;      // bytes that lie in one of them, lately
        std::uint32_t reserved = 0;  // chunks that its socket's receive buffer may take
        lease_account* account = nullptr;
    };

    static void prepare(operation& op, io_uring_sqe& sqe) noexcept;
    static void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    static void prepare_close(operation& op, io_uring_sqe& sqe) noexcept;
    static void complete_close(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    void deliver(std::uint32_t flags, std::uint32_t size) noexcept;
    void deliver_zero_copy(std::uint32_t size) noexcept;
    void deliver_from_heap(std::int32_t result) noexcept;
    void keep(rx_buffer&& slice) noexcept;
    void append(rx_buffer&& slice, bool copies) noexcept;
    void count_in(std::uint32_t size) noexcept;
    void on_terminal(std::int32_t result, bool had_data, bool from_heap) noexcept;
    void on_failure(std::int32_t error_number, bool from_heap) noexcept;
    void detour() noexcept;
    boost::system::error_code why_nothing() noexcept;
    void arm() noexcept;
    [[nodiscard]] std::uint32_t pending_limit() const noexcept;
    [[nodiscard]] std::uint32_t next_credit() const noexcept;
    void end(brief_error why) noexcept;
    void wake_waiter() noexcept;
    void taken(std::size_t bytes) noexcept;
    [[nodiscard]] bool worth_copying(const rx_buffer& slice) const noexcept;
    [[nodiscard]] bool worth_copying_copied(std::size_t size) const noexcept;
    [[nodiscard]] bool worth_copying_leased(std::size_t size) const noexcept;
    [[nodiscard]] supply& draws_on() const noexcept;
    void open_account();
    void ask_for_room() noexcept;
    void starve() noexcept;
    // The connection that this is a part of.
    [[nodiscard]] connection& owner() const noexcept;
    [[nodiscard]] net_context& net() const noexcept;

    bool ended_ = false;  // these in the padding of the base
    bool closed_ = false;
    bool starved_ = false;
    bool paused_ = false;
    bool was_armed_ = false;  // when it was paused
    bool zero_copy_ = false;  // how it is armed, and what its CQEs are
    bool climbing_ = false;   // from the next arming on
    bool unreadable_ = false;
    bool elsewhere_ = false;    // no queue that can be had has the bytes; not told yet
    std::uint32_t credit_ = 0;  // bytes that the armed receive may still deliver
    brief_error why_ended_;
    slice_queue slices_;
    [[no_unique_address]] rx_buffer heap_;  // where a receive without a provided buffer reads to
    std::uint32_t pending_ = 0;             // bytes in slices_
    zero_copy_state* zc_ = nullptr;         // there since zero copy was asked for
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
