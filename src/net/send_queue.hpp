// SPDX-License-Identifier: Apache-2.0
//! The sending side of a connection: send_all() calls in order, one request at the kernel.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "runtime/operation.hpp"
#include "runtime/reactor_io.hpp"
#include "sluice/result.hpp"
#include "sluice/stream_awaiters.hpp"

namespace sluice::detail {

class net_context;
class send_hold;

//! What waits at the end of a turn goes out as one SEND or SENDMSG. The result is dealt out to the
//! calls in order; a call that was only partly served goes on with the next request. Calls that are
//! large enough, and whose memory the kernel may go on using, go out as a zero-copy send, which
//! looks no different from here, but for what a call that lends its memory waits for.
class send_queue final : public operation, private turn_end_hook {
public:
    send_queue(connection& owner, net_context& net) noexcept;

    [[nodiscard]] bool takes_more() const noexcept;
    //! Why it does not. Counts.
    [[nodiscard]] brief_error refusal() const noexcept;

    void push(send_call& call) noexcept;

    //! The call's coroutine is to stop.
    void cancel(send_call& call) noexcept;

    //! The calls' memory is lent to the kernel, and the connection is being closed.
    void take_back(send_call& call) noexcept { fail(call, cancelled); }

    //! A request is at the kernel that has not accepted all it will.
    [[nodiscard]] bool busy() const noexcept { return live() || zero_copy_ != nullptr; }
    //! No call waits and no request is in flight.
    [[nodiscard]] bool idle() const noexcept { return head_ == nullptr && !busy(); }
    //! What every later call gets; for a connection that moves.
    [[nodiscard]] brief_error broken() const noexcept { return broken_; }
    void set_broken(brief_error why) noexcept { broken_ = why; }

    //! What is queued waits until go_on(), and fails at the move.
    void pause() noexcept { paused_ = true; }
    void go_on() noexcept {
        paused_ = false;
        if (head_ != nullptr) start_soon();
    }

    //! The zero-copy send has ended but for its notification.
    void accepted(std::int32_t result) noexcept;
    //! It was copied all the same.
    void kernel_copies() noexcept;
    [[nodiscard]] bool tries_zero_copy() const noexcept { return tries_zero_copy_; }
    void set_tries_zero_copy(bool on) noexcept { tries_zero_copy_ = on; }

    //! The connection is being closed: all calls end with ECANCELED.
    void close() noexcept;

    //! The reactor goes away.
    void unhook() noexcept;

private:
    static constexpr auto cancelled = brief_error::of_errno(ECANCELED);
    struct gathered;  // message header and vector of a SENDMSG
    struct rest;      // of a piece of a call: what has not been sent
    struct batch;     // of those

    static void prepare(operation& op, io_uring_sqe& sqe) noexcept;
    static void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    void start_soon() noexcept;
    void at_turn_end() noexcept override;
    static int flags_of(const send_call& call) noexcept;
    void prepare_piece(io_uring_sqe& sqe, std::span<const std::byte> bytes) noexcept;
    void prepare_bytes(io_uring_sqe& sqe) noexcept;
    template <class Take>
    void walk(Take take) noexcept;
    void count_in(send_call& call) noexcept;
    std::size_t gather() noexcept;
    [[nodiscard]] bool worth_zero_copy() const noexcept;
    [[nodiscard]] bool worth_zero_copy(const send_call& call) const noexcept;
    send_hold* make_zero_copy() noexcept;
    void collect(batch& b, std::size_t room) noexcept;
    bool ended_whole(std::int32_t result) noexcept;
    void ended(std::int32_t result) noexcept;
    void deal_out(std::size_t bytes) noexcept;
    void on_result(std::int32_t result) noexcept;
    void settle_cancelled() noexcept;
    void cancel_request() noexcept;
    void stop_trying() noexcept;
    void fail(send_call& call, brief_error why) noexcept;
    void fail_all(brief_error why) noexcept;
    send_call& pop() noexcept;
    void remove(send_call& call) noexcept;
    [[nodiscard]] net_context& net() const noexcept;

    bool closed_ = false;  // these in the padding of the base
    bool paused_ = false;
    bool tries_zero_copy_;
    std::uint32_t count_ = 0;
    brief_error broken_;  // what every later call gets
    connection& owner_;
    send_call* head_ = nullptr;
    send_call* tail_ = nullptr;
    gathered* gathered_ = nullptr;    // while a SENDMSG is in flight
    send_hold* zero_copy_ = nullptr;  // until it is accepted
};

}  // namespace sluice::detail
