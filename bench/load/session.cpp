// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include "checker.hpp"
#include "dial.hpp"
#include "explain.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

#include <algorithm>
#include <sstream>
#include <utility>

namespace sluice_load {

namespace {

using boost::asio::socket_base;
using boost::system::error_code;

constexpr std::size_t smallest_chunk = 16 * 1024;
// Keeps one connection that never blocks from starving the others of its thread.
constexpr int writes_per_turn = 16;

}  // namespace

session::session(session_environment& environment)
    : env_(environment),
      socket_(environment.context),
      line_(environment.options.message_size, static_cast<std::size_t>(environment.options.depth)) {
}

void session::connect(std::uint64_t number) {
    number_ = number;
    pattern_ = pattern(env_.options.seed, number);
    line_.reset();
    exhausted_ = shut_ = false;
    chunk_ = env_.outgoing.size();
    state_ = state::connecting;
    progressed_ = clock_type::now();
    if (const auto error = prepare_socket(socket_, env_.server, env_.options, number)) {
        return fail(explain_connect(error, env_.server));
    }
    socket_.async_connect(env_.server, [this, generation = generation_](const error_code& error) {
        if (generation == generation_) on_connect(error);
    });
}

void session::on_connect(const error_code& error) {
    if (error) return fail(explain_connect(error, env_.server));
    if (is_connected_to_itself(socket_, env_.server)) {
        return fail(explain_connect(boost::asio::error::connection_refused, env_.server));
    }
    const auto now = clock_type::now();
    ++env_.results.connections_opened;
    env_.results.connect_latency.record(now - progressed_);
    progressed_ = now;
    state_ = state::connected;
    env_.host.on_connect_settled(*this);
}

void session::begin() {
    state_ = state::active;
    progressed_ = clock_type::now();
    wait_readable();
    if (env_.options.sends()) pump();
}

void session::drain() {
    if (state_ == state::idle) return;
    if (state_ != state::active || !env_.options.sends()) return finish();
    if (!write_armed_) pump();
}

void session::check_progress(time_point now) {
    if (now - progressed_ <= env_.options.timeout) return;
    if (state_ == state::connecting) {
        fail(explain_connect_timeout(env_.server, env_.options));
    } else if (state_ == state::active) {
        fail(explain_stall("nothing moved on the connection for the time of --timeout " + where()));
    }
}

void session::give_up(const std::string& cause) {
    if (state_ == state::idle) return;
    fail(explain_stall(cause + " " + where()));
}

void session::wait_readable() {
    socket_.async_wait(socket_base::wait_read, [this, generation = generation_](const error_code&) {
        if (generation == generation_) on_readable();
    });
}

void session::wait_writable() {
    write_armed_ = true;
    socket_.async_wait(socket_base::wait_write,
                       [this, generation = generation_](const error_code&) {
                           if (generation != generation_) return;
                           write_armed_ = false;
                           pump();
                       });
}

void session::on_readable() {
    const auto generation = generation_;
    error_code error;
    const auto count = socket_.read_some(boost::asio::buffer(env_.incoming), error);
    if (error == boost::asio::error::eof) return take_end();
    if (error && error != boost::asio::error::would_block) {
        return fail(explain_transfer(error, where()));
    }
    if (!error) {
        const auto now = clock_type::now();
        progress(now);
        env_.results.bytes_received += count;
        if (env_.options.mode == load_mode::sink) {
            take_sink(count);
        } else {
            take_echo(std::span(env_.incoming).first(count), now);
        }
    }
    if (generation == generation_) wait_readable();
}

void session::pump() {
    for (int i = 0; i < writes_per_turn; ++i) {
        begin_messages();
        if (line_.unsent() == 0) return settle();
        if (!write_once()) return;
    }
    wait_writable();
}

/// False when the rest has to wait, or the connection has failed.
bool session::write_once() {
    const auto offered = static_cast<std::size_t>(std::min<std::uint64_t>(line_.unsent(), chunk_));
    const auto bytes = std::span(env_.outgoing).first(offered);
    if (env_.options.verifies()) pattern_.fill(line_.sent(), bytes);
    error_code error;
    const auto now = clock_type::now();
    const auto written = socket_.write_some(boost::asio::buffer(bytes.data(), offered), error);
    if (error && error != boost::asio::error::would_block) {
        fail(explain_transfer(error, where()));
        return false;
    }
    if (written != 0) progress(now);
    env_.results.bytes_sent += written;
    line_.on_sent(written, now);
    if (env_.options.mode == load_mode::source) {
        line_.on_received(written, now, [this](auto) { ++env_.results.messages; });
    }
    adapt_chunk(offered, written);
    if (written == offered) return true;
    wait_writable();
    return false;
}

/// Bytes that were made but did not fit are made again later: offer about what fits.
void session::adapt_chunk(std::size_t offered, std::size_t written) {
    if (!env_.options.verifies()) return;
    if (written < offered) {
        chunk_ = std::min(std::max(written, smallest_chunk), env_.outgoing.size());
    } else if (offered == chunk_) {
        chunk_ = std::min(2 * chunk_, env_.outgoing.size());
    }
}

void session::begin_messages() {
    const auto limit = env_.options.messages;
    const auto at_limit = [&] { return limit != 0 && line_.begun() >= limit; };
    while (!at_limit() && !env_.draining && !line_.full() && !exhausted_) {
        exhausted_ = !env_.budget.take(env_.options.message_size);
        if (!exhausted_) line_.begin();
    }
    // Known as early as can be: --half-close ends the sending side with replies outstanding.
    exhausted_ = exhausted_ || at_limit() || env_.draining;
}

/// Everything begun is sent: ends the connection if nothing more is to come.
void session::settle() {
    if (!exhausted_) return;
    const bool awaits_end = env_.options.half_close || env_.options.mode == load_mode::source;
    if (!awaits_end) {
        if (line_.in_flight() == 0) finish();
        return;
    }
    if (std::exchange(shut_, true)) return;
    error_code error;
    socket_.shutdown(socket_base::shutdown_send, error);
    if (error) fail(explain_transfer(error, where()));
}

void session::take_echo(std::span<const std::byte> bytes, time_point now) {
    const bool source = env_.options.mode == load_mode::source;
    const auto due = bytes.first(source ? 0
                                        : static_cast<std::size_t>(std::min<std::uint64_t>(
                                              bytes.size(), line_.unreceived())));
    if (env_.options.verifies()) {
        if (const auto wrong = find_mismatch(pattern_, line_.received(), due)) {
            return fail(explain_mismatch(wrong->describe() + " " + where()));
        }
    }
    if (due.size() != bytes.size()) {
        return fail(explain_mismatch("more bytes came back than were sent " + where()));
    }
    line_.on_received(due.size(), now, [this](std::chrono::nanoseconds latency) {
        ++env_.results.messages;
        env_.results.latency.record(latency);
    });
    if (!write_armed_) pump();
}

void session::take_sink(std::size_t count) {
    line_.on_sent(count, progressed_);
    line_.on_received(count, progressed_, [this](auto) { ++env_.results.messages; });
    const auto limit = env_.options.messages;
    const bool enough = limit != 0 && line_.completed() >= limit;
    if (enough || !env_.budget.take(count)) finish();
}

void session::take_end() {
    const bool sink = env_.options.mode == load_mode::sink && env_.options.messages == 0;
    if (sink || (shut_ && line_.in_flight() == 0)) {
        progress(clock_type::now());
        return end(true);
    }
    fail(explain_early_close("the server closed the connection " + where()));
}

void session::progress(time_point now) { env_.results.last_activity = progressed_ = now; }

void session::finish() {
    const bool echoed = state_ == state::active && env_.options.echoes();
    if (echoed && !env_.options.half_close) {
        error_code error;
        socket_.read_some(boost::asio::buffer(env_.incoming), error);
        if (!error) return fail(explain_mismatch("more bytes came back than were sent " + where()));
    }
    end(true);
}

void session::fail(failure what) {
    what.connection = number_;
    what.when = clock_type::now();
    env_.results.add_failure(std::move(what));
    end(false);
}

void session::end(bool well) {
    const bool connecting = state_ == state::connecting;
    const bool completed = well && state_ == state::active;
    close();
    if (completed) ++env_.results.connections_completed;
    if (connecting) env_.host.on_connect_settled(*this);
    env_.host.on_finished(*this, well);
}

void session::close() {
    ++generation_;
    write_armed_ = false;
    state_ = state::idle;
    error_code ignored;
    socket_.close(ignored);
}

std::string session::where() const {
    std::ostringstream text;
    text << "(connection " << number_ << ": " << line_.sent() << " bytes sent, " << line_.received()
         << " received, " << line_.completed() << " messages complete)";
    return text.str();
}

}  // namespace sluice_load
