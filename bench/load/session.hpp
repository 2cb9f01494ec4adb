// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "byte_budget.hpp"
#include "failure.hpp"
#include "load_options.hpp"
#include "pattern.hpp"
#include "pipeline.hpp"
#include "tally.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sluice_load {

class session;

/// Told by a session about its life, on the session's thread.
class session_host {
public:
    session_host() = default;
    session_host(const session_host&) = delete;
    session_host& operator=(const session_host&) = delete;
    virtual ~session_host() = default;

    /// The connect ended, well or not; in the second case on_finished follows.
    virtual void on_connect_settled(session& who) = 0;
    /// The connection is closed, and the session may be connected again from within this call.
    virtual void on_finished(session& who, bool well) = 0;
};

/// What the sessions of one thread share. The buffers belong to whoever runs at the moment and
/// hold nothing from one call to the next, so a connection costs no buffer memory.
struct session_environment {
    boost::asio::io_context& context;
    const load_options& options;
    const boost::asio::ip::tcp::endpoint& server;
    byte_budget& budget;
    tally& results;
    session_host& host;
    std::vector<std::byte> outgoing;
    std::vector<std::byte> incoming;
    bool draining = false;  ///< no message is begun any more
};

/// One connection at a time: connect, then messages until a limit is reached, then close. Waits for
/// readiness and reads and writes without blocking, in both directions at once.
class session {
public:
    explicit session(session_environment& environment);

    /// Starts connecting. The number chooses the bytes that are sent and the source address.
    void connect(std::uint64_t number);
    /// Starts the traffic of a connected session.
    void begin();
    /// The environment began draining: ends as soon as nothing is in flight.
    void drain();
    /// Fails if there was no progress for the timeout.
    void check_progress(time_point now);
    /// Fails if it has not ended.
    void give_up(const std::string& cause);

    [[nodiscard]] bool is_connected() const { return state_ == state::connected; }

private:
    enum class state : std::uint8_t { idle, connecting, connected, active };

    void on_connect(const boost::system::error_code& error);
    void wait_readable();
    void wait_writable();
    void on_readable();

    void pump();
    bool write_once();
    void begin_messages();
    void adapt_chunk(std::size_t offered, std::size_t written);
    void settle();

    void take_echo(std::span<const std::byte> bytes, time_point now);
    void take_sink(std::size_t count);
    void take_end();

    void progress(time_point now);
    void finish();
    void fail(failure what);
    void close();
    void end(bool well);
    [[nodiscard]] std::string where() const;

    session_environment& env_;
    boost::asio::ip::tcp::socket socket_;
    pattern pattern_;
    pipeline line_;
    state state_ = state::idle;
    bool write_armed_ = false;
    bool exhausted_ = false;  ///< begins no message any more
    bool shut_ = false;       ///< the sending side is shut down
    /// Told apart by this, handlers of a closed connection do nothing to its successor.
    std::uint64_t generation_ = 0;
    std::uint64_t number_ = 0;
    std::size_t chunk_ = 0;
    time_point progressed_{};
};

}  // namespace sluice_load
