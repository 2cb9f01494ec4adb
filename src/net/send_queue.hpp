// SPDX-License-Identifier: Apache-2.0
//! The sending side of a connection: send_all() calls in order, one request at the kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/operation.hpp"
#include "runtime/reactor_io.hpp"
#include "sluice/result.hpp"
#include "sluice/stream_awaiters.hpp"

namespace sluice::detail {

class net_context;

//! What waits at the end of a turn goes out as one SEND or SENDMSG. The result is dealt out to the
//! calls in order; a call that was only partly served goes on with the next request.
class send_queue final : public operation, private turn_end_hook {
public:
    send_queue(connection& owner, net_context& net) noexcept;

    [[nodiscard]] bool takes_more() const noexcept;
    //! Why it does not. Counts.
    [[nodiscard]] boost::system::error_code refusal() const noexcept;

    void push(send_call& call) noexcept;

    //! The call's coroutine is to stop.
    void cancel(send_call& call) noexcept;

    //! No call waits and no request is in flight.
    [[nodiscard]] bool idle() const noexcept { return head_ == nullptr && !live(); }
    //! What every later call gets; for a connection that moves.
    [[nodiscard]] const boost::system::error_code& broken() const noexcept { return broken_; }
    void set_broken(const boost::system::error_code& why) noexcept { broken_ = why; }

    //! What is queued waits until release(), and fails at the move.
    void hold() noexcept { held_ = true; }
    void release() noexcept {
        held_ = false;
        if (head_ != nullptr) start_soon();
    }

    //! The connection is being closed: all calls end with ECANCELED.
    void close() noexcept;

    //! The reactor goes away.
    void unhook() noexcept;

private:
    struct gathered;  // message header and vector of a SENDMSG

    static void prepare(operation& op, io_uring_sqe& sqe) noexcept;
    static void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    void start_soon() noexcept;
    void at_turn_end() noexcept override;
    void prepare_bytes(io_uring_sqe& sqe) noexcept;
    std::size_t gather() noexcept;
    void deal_out(std::size_t bytes) noexcept;
    void on_result(std::int32_t result) noexcept;
    void settle_cancelled() noexcept;
    void fail_all(const boost::system::error_code& why) noexcept;
    send_call& pop() noexcept;
    void remove(send_call& call) noexcept;

    connection& owner_;
    net_context& net_;
    send_call* head_ = nullptr;
    send_call* tail_ = nullptr;
    std::uint32_t count_ = 0;
    bool closed_ = false;
    bool held_ = false;
    boost::system::error_code broken_;  // what every later call gets
    gathered* gathered_ = nullptr;      // while a SENDMSG is in flight
};

}  // namespace sluice::detail
