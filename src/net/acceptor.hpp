// SPDX-License-Identifier: Apache-2.0
//! The operation behind a tcp_listener: a multishot accept that knows when to pause.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "net/connection.hpp"
#include "runtime/operation.hpp"
#include "sluice/drain.hpp"
#include "sluice/listener.hpp"
#include "sluice/timer.hpp"

namespace sluice::detail {

class accept_exchange;

//! Lives as long as its handle, its operation and its connections. Accepting pauses while too many
//! accepted connections wait, while the listener has as many as it may have, and while descriptors
//! are scarce; it goes on when one of its connections ends, one is taken, or a short time passed,
//! because descriptors are the whole process's.
class acceptor final : public operation,
                       public connection_owner,
                       private drain_listener,
                       private timer_node {
public:
    acceptor(net_context& net, const listener_group& group, unsigned socket);

    //! A connection that may be taken, or nothing more to come.
    [[nodiscard]] bool has_result() const noexcept;
    void wait(accept_awaiter& w);
    void forget(accept_awaiter& w) noexcept;

    //! has_result() must hold.
    result<tcp_stream> take();

    //! A connection that another reactor has accepted.
    void take_over(int descriptor) noexcept;
    //! Connections that nobody has taken yet. From any thread.
    [[nodiscard]] std::size_t waiting() const noexcept {
        return waiting_.load(std::memory_order_relaxed);
    }

    [[nodiscard]] std::uint32_t connections() const noexcept { return connections_; }
    [[nodiscard]] int descriptor() const noexcept { return listening_; }
    [[nodiscard]] bool paused() const noexcept { return paused_; }

    //! The handle has gone.
    void close() noexcept;
    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] bool drained() const noexcept { return drained_; }

    //! An awaiter that was woken refers to the object until it has been resumed.
    void pin() noexcept { ++pins_; }
    void unpin() noexcept {
        --pins_;
        destroy_if_unused();
    }

private:
    static void prepare(operation& op, io_uring_sqe& sqe) noexcept;
    static void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    void on_connection(int descriptor) noexcept;
    [[nodiscard]] bool hand_over(int descriptor) noexcept;
    void keep(int descriptor) noexcept;
    void mind_limits() noexcept;
    void on_terminal(std::int32_t result) noexcept;
    void connection_gone() noexcept override;
    void on_drain() noexcept override;
    void on_timer() noexcept override;
    [[nodiscard]] bool full() const noexcept;
    [[nodiscard]] bool scarce() const noexcept;
    [[nodiscard]] std::int64_t descriptors_left() const noexcept;
    [[nodiscard]] bool must_pause() const noexcept;
    [[nodiscard]] bool must_count() const noexcept;
    void pause() noexcept;
    void go_on() noexcept;
    void retry_later() noexcept;
    void warn_if_scarce() noexcept;
    void refuse_one() noexcept;
    void close_descriptor(int descriptor) noexcept;
    void wake_waiter() noexcept;
    void destroy_if_unused() noexcept;
    ~acceptor();

    net_context& net_;
    listen_options options_;
    int listening_;
    unsigned socket_;  // which of the group
    std::shared_ptr<accept_exchange> exchange_;
    unsigned next_sharer_ = 0;
    int reserve_ = -1;
    std::deque<int> accepted_;
    std::atomic<std::size_t> waiting_{0};  // as many, for other threads
    std::uint32_t connections_ = 0;
    std::uint32_t pins_ = 0;
    bool paused_ = false;
    bool warned_ = false;
    bool multishot_ = false;  // of the accept that is armed
    bool exhausted_ = false;  // the kernel said that there are no descriptors
    bool drained_ = false;
    bool closed_ = false;
    boost::system::error_code failed_;
    accept_awaiter* waiter_ = nullptr;
};

}  // namespace sluice::detail
