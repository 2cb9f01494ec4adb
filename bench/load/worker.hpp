// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "connect_gate.hpp"
#include "session.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sluice_load {

/// What all threads draw from.
struct shared_limits {
    byte_budget bytes;
    std::atomic<std::uint64_t> next_cycle{0};
};

/// Called on the worker's thread.
struct worker_events {
    std::function<void()> ready;  ///< every connect has settled; not in churn mode
    std::function<void()> done;   ///< every session has ended; the last event
};

/// One thread's share of the connections, on an io_context of its own.
class worker final : private session_host {
public:
    worker(const load_options& options, const boost::asio::ip::tcp::endpoint& server,
           shared_limits& shared, unsigned index, worker_events events);
    ~worker() override = default;
    worker(const worker&) = delete;
    worker& operator=(const worker&) = delete;

    /// The body of the thread: connects, and returns when every session has ended.
    void run();

    /// To be called from any thread; without effect once done.
    void begin();
    void drain();
    void give_up(const std::string& cause);

    /// To be read after run has returned.
    [[nodiscard]] const tally& results() const { return results_; }

private:
    void on_connect_settled(session& who) override;
    void on_finished(session& who, bool well) override;

    void open_all();
    bool open_next_cycle(session& who);
    void drain_here();
    void tick();
    void sessions_ended(std::size_t count);

    const load_options& options_;
    shared_limits& shared_;
    unsigned index_;
    worker_events events_;
    // One thread only ever runs the context, so it needs no locks.
    boost::asio::io_context context_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    boost::asio::steady_timer ticker_;
    tally results_;
    connect_gate gate_;
    session_environment environment_;
    std::vector<std::unique_ptr<session>> sessions_;
    std::size_t settled_ = 0;
    std::size_t ended_ = 0;
};

}  // namespace sluice_load
