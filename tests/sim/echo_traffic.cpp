// SPDX-License-Identifier: Apache-2.0
#include "sim/echo_traffic.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "sluice/copy_bidirectional.hpp"
#include "sluice/stream_reader.hpp"
#include "sluice/timeout.hpp"

namespace sluice::sim {

using namespace std::chrono_literals;

namespace {
constexpr std::size_t longest_message = 6000;
constexpr std::uint32_t first_peer_stream = 1000;
constexpr auto patience = std::chrono::hours(2);  // of virtual time, for the slowest script
}  // namespace

std::byte pattern_byte(std::uint32_t stream, std::uint64_t offset) noexcept {
    const std::uint64_t mixed = (offset + 1) * 0x9e3779b97f4a7c15U + stream * 0xbf58476d1ce4e5b9U;
    return static_cast<std::byte>(mixed >> 56);
}

std::vector<std::byte> pattern(std::uint32_t stream, std::uint64_t offset, std::size_t count) {
    std::vector<std::byte> bytes(count);
    for (std::size_t i = 0; i < count; ++i) bytes[i] = pattern_byte(stream, offset + i);
    return bytes;
}

std::unique_ptr<echo_traffic::entrance> echo_traffic::open() {
    auto at = endpoint::of(lot(0.5) ? "127.0.0.1" : "::1", 0);
    listen_options options;
    options.backlog = static_cast<int>(draw(1, 8));
    options.max_connections = lot(0.2) ? static_cast<std::uint32_t>(draw(1, 4)) : 0;
    options.max_pending_accepts = static_cast<std::uint32_t>(draw(1, 8));
    options.descriptor_headroom = 0;  // that is about the real process
    auto group = listener_group::open_on(sim_, *at, 1, options);
    sim_.expect(group.has_value(), "no listener");
    if (!group) return nullptr;
    auto opened = tcp_listener::open(home_, *group, 0);
    sim_.expect(opened.has_value(), "no listener on the reactor");
    if (!opened) return nullptr;
    return std::make_unique<entrance>(std::move(*group), std::move(*opened));
}

void echo_traffic::serve_at(entrance& e, task<> (echo_traffic::*handle)(tcp_stream)) {
    home_.spawn([this, &e, handle]() -> task<> {
        const auto ended = co_await serve(
            e.listener, [this, handle](tcp_stream s) { return (this->*handle)(std::move(s)); });
        sim_.expect(ended.has_value() || stopping(), "serving ended with an error");
    });
}

void echo_traffic::run() {
    {
        const auto server = open();
        const auto proxy = plan_.proxied ? open() : nullptr;
        if (!server || (plan_.proxied && !proxy)) return;
        server_ = server->group.local();
        at_ = plan_.proxied ? proxy->group.local() : server_;
        serve_at(*server, &echo_traffic::handler);
        if (plan_.proxied) serve_at(*proxy, &echo_traffic::forward);
        for (unsigned i = 0; i < plan_.peers; ++i) start_peer(first_peer_stream + i);
        home_.spawn([this] { return clients_then_drain(); });
        const auto running = std::make_shared<bool>(true);
        if (plan_.stop_after > 0ns)
            sim_.after(plan_.stop_after, [this, weak = std::weak_ptr(running)] {
                if (!weak.expired()) stop_from_outside();
            });
        home_.run_until_idle();
    }
    home_.run_until_idle();  // the listener's accept ends
    check_peers();
}

void echo_traffic::stop_from_outside() {
    home_.post([this] {
        stopped_ = true;
        home_.request_stop();
        if (plan_.abandon) home_.abandon();
    });
}

bool echo_traffic::stopping() const noexcept { return stopped_; }

// --- the proxy

task<> echo_traffic::forward(tcp_stream conn) {
    auto server = co_await tcp_stream::connect(server_);
    if (!server) {
        sim_.expect(plan_.rough || stopping(), "no connection to the server");
        conn.abort();
        co_return;
    }
    copy_options options;
    options.max_leases = static_cast<std::uint32_t>(draw(1, 4));
    options.max_bytes = draw(1, 3000);
    options.linger = std::chrono::microseconds(draw(0, 20'000));
    // The server may have stopped accepting: nobody waits for a client that has gone.
    if (plan_.rough)
        options.idle_timeout = std::chrono::microseconds(draw(1, lot(0.2) ? 10'000 : 10'000'000));
    const copy_result ended = co_await copy_bidirectional(conn, *server, options);
    sim_.expect(ended.in_order() || plan_.rough || stopping(), "a copy did not end in order");
    if (!ended.in_order()) sim_.expect(!conn && !*server, "a broken copy left a connection");
}

// --- the server

task<> echo_traffic::handler(tcp_stream conn) {
    const auto style = static_cast<unsigned>(draw(0, 5));
    while (co_await echo_once(conn, style)) {
        if (lot(0.05)) co_await pause();
    }
    if (lot(0.5)) co_await conn.close();
}

task<bool> echo_traffic::echo_once(tcp_stream& conn, unsigned style) {
    std::array<std::byte, 700> buffer{};
    if (style == 0) {
        auto chunk = co_await conn.recv();
        if (!chunk) co_return false;
        co_return (co_await conn.send_all(std::move(*chunk))).has_value();
    }
    if (style == 1) {
        const auto got = co_await conn.recv_into(buffer);
        if (!got) co_return false;
        co_return (co_await conn.send_all(std::span(buffer).first(*got))).has_value();
    }
    if (style == 2) {  // impatient: a timeout loses nothing
        auto chunk = co_await with_timeout(std::chrono::microseconds(draw(1, 2000)), conn.recv());
        if (!chunk) co_return chunk.error() == error::timeout;
        co_return (co_await conn.send_all(chunk->bytes())).has_value();
    }
    if (style == 3) {  // holds several buffers at once
        buffer_chain held;
        for (std::size_t n = draw(1, 4); n != 0; --n) {
            auto chunk = co_await with_timeout(1ms, conn.recv());
            if (!chunk && (chunk.error() != error::timeout)) {
                if (!held.empty()) static_cast<void>(co_await conn.send_all(std::move(held)));
                co_return false;
            }
            if (chunk) held.append(std::move(*chunk));
        }
        if (held.empty()) co_return true;
        co_return (co_await conn.send_all(std::move(held))).has_value();
    }
    if (style == 4) {  // lends what the kernel may still read for a while
        const auto got = co_await conn.recv_into(buffer);
        if (!got) co_return false;
        co_return (co_await lend(conn, std::span(buffer).first(*got))).has_value();
    }
    auto chunk = co_await conn.recv();  // sends in parts
    if (!chunk) co_return false;
    for (auto rest = chunk->bytes(); !rest.empty();) {
        const auto sent = co_await conn.send(rest);
        if (!sent) co_return false;
        rest = rest.subspan(*sent);
    }
    co_return true;
}

// What is stuck is given back only with the connection's end.
task<result<std::size_t>> echo_traffic::lend(tcp_stream& conn, std::span<const std::byte> bytes) {
    if (sim_.options().stuck_notice_rate == 0) co_return co_await conn.send_all_zero_copy(bytes);
    co_return co_await with_timeout(std::chrono::milliseconds(draw(1, 500)),
                                    conn.send_all_zero_copy(bytes));
}

// --- clients that are coroutines

task<> echo_traffic::clients_then_drain() {
    static_cast<void>(
        co_await with_nursery(nursery_options{on_failure::collect}, [this](nursery& n) -> task<> {
            for (unsigned i = 0; i < plan_.clients; ++i)
                n.spawn([this, i] { return client(i + 1); });
            co_return;
        }));
    const auto give_up = home_.now() + patience;
    while (!stopping() && !peers_done()) {
        static_cast<void>(co_await sleep_for(5ms));
        if (home_.now() > give_up) {
            sim_.expect(false, "a scripted peer did not come to its end");
            break;
        }
    }
    home_.request_drain();
}

task<> echo_traffic::client(std::uint32_t number) {
    co_await pause();
    auto connected = co_await tcp_stream::connect(at_);
    session s;
    s.number = number;
    s.total = draw(0, plan_.bytes);
    s.gentle = !plan_.rough || lot(0.5);
    if (!connected) {
        tolerate(s, connected.error(), "connect");
        co_return;
    }
    s.stream = std::move(*connected);
    static_cast<void>(
        co_await with_nursery(nursery_options{on_failure::collect}, [&](nursery& n) -> task<> {
            n.spawn([&] { return send_side(s); });
            n.spawn([&] { return receive_side(s); });
            co_return;
        }));
    const bool complete = s.received == s.total;
    sim_.expect(complete || plan_.rough || stopping(),
                "client " + std::to_string(number) + " sent " + std::to_string(s.sent) + " of " +
                    std::to_string(s.total) + " bytes and got " + std::to_string(s.received));
    if (lot(0.5)) co_await s.stream.close();
}

task<> echo_traffic::send_side(session& s) {
    while (s.sent < s.total) {
        const std::size_t size = std::min(draw(1, longest_message), s.total - s.sent);
        const auto message = pattern(s.number, s.sent, size);
        const auto sent = co_await send_some(s, message);
        if (!sent) tolerate(s, sent.error(), "send");
        if (!sent || (!s.gentle && lot(0.05))) {
            // A server that gets no end of the stream would wait for ever.
            if (lot(0.5))
                s.stream.abort();
            else
                s.stream = {};
            co_return;
        }
        s.sent += *sent;
        if (lot(0.2)) co_await pause();
    }
    if (!s.stream) co_return;
    const auto ended = co_await s.stream.shutdown();
    if (!ended) tolerate(s, ended.error(), "shutdown");
}

task<result<std::size_t>> echo_traffic::send_some(session& s, std::span<const std::byte> bytes) {
    if (!s.stream) co_return errno_error(EBADF);
    if (!s.gentle && lot(0.1))  // breaks the sending side when it comes half-way
        co_return co_await with_timeout(std::chrono::microseconds(draw(1, 500)),
                                        s.stream.send_all(bytes));
    if (lot(0.3)) co_return co_await s.stream.send(bytes);
    if (lot(0.2)) co_return co_await lend(s.stream, bytes);
    if (lot(0.2)) co_return co_await s.stream.send_all(rx_buffer::copy_of(bytes));
    if (lot(0.3)) {
        const std::size_t half = bytes.size() / 2;
        const std::array pieces{bytes.first(half), bytes.subspan(half)};
        co_return co_await s.stream.send_all(std::span<const std::span<const std::byte>>(pieces));
    }
    co_return co_await s.stream.send_all(bytes);
}

task<> echo_traffic::receive_side(session& s) {
    for (;;) {
        if (!s.stream) co_return;
        const auto got = co_await receive_some(s);
        if (got) {
            s.received += *got;
        } else if (got.error() == error::eof) {
            sim_.expect(s.received == s.total || plan_.rough || stopping(), "an early end");
            co_return;
        } else if (got.error() != error::timeout) {
            tolerate(s, got.error(), "receive");
            co_return;
        }
        if (lot(0.1)) co_await pause();
    }
}

task<result<std::size_t>> echo_traffic::receive_some(session& s) {
    std::array<std::byte, 900> buffer{};
    if (s.received < s.total && lot(0.1)) co_return co_await receive_exactly(s);
    if (lot(0.4)) {
        const auto got = co_await s.stream.recv_into(std::span(buffer).first(draw(1, 900)));
        if (!got) co_return got.error();
        check_bytes(s, std::span(buffer).first(*got));
        co_return *got;
    }
    std::chrono::nanoseconds limit = patience;
    if (lot(0.3)) limit = std::chrono::microseconds(draw(0, 3000));
    auto chunk = co_await with_timeout(limit, s.stream.recv());
    if (!chunk) co_return chunk.error();
    if (lot(0.1)) co_await pause();  // the bytes stay where they are meanwhile
    check_bytes(s, chunk->bytes());
    const std::size_t size = chunk->size();
    if (plan_.holders && lot(0.4))
        home_.spawn([this, slice = std::move(*chunk), stream = s.number,
                     at = s.received]() mutable { return hold(std::move(slice), stream, at); });
    co_return size;
}

// A message of known length, and what the reader has beyond it.
task<result<std::size_t>> echo_traffic::receive_exactly(session& s) {
    const std::size_t size = std::min(draw(1, longest_message), s.total - s.received);
    stream_reader reader(s.stream);
    const auto message = co_await reader.recv_exact(size);
    std::string bytes;
    if (message) bytes = message->to_string();
    sim_.expect(!message || bytes.size() == size, "a message of another length");
    if (const std::size_t left = reader.buffered(); left != 0) {
        const auto rest = co_await reader.recv_exact(left);
        sim_.expect(rest.has_value() || stopping(), "a reader lost what it had");
        if (rest) bytes += rest->to_string();
    }
    check_bytes(s, std::as_bytes(std::span(bytes)));
    if (bytes.empty()) co_return message.error();
    co_return bytes.size();
}

task<> echo_traffic::pause() {
    static_cast<void>(co_await sleep_for(std::chrono::microseconds(draw(0, 5000))));
}

// Somebody who lets go late: nothing may change meanwhile.
task<> echo_traffic::hold(rx_buffer slice, std::uint32_t stream, std::size_t offset) {
    for (std::size_t n = draw(1, 10); n != 0; --n) co_await pause();
    is_right(stream, offset, slice.bytes());
}

void echo_traffic::check_bytes(const session& s, std::span<const std::byte> bytes) {
    if (is_right(s.number, s.received, bytes)) checked_ += bytes.size();
}

bool echo_traffic::is_right(std::uint32_t stream, std::size_t offset,
                            std::span<const std::byte> bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (bytes[i] == pattern_byte(stream, offset + i)) continue;
        sim_.expect(false, "client " + std::to_string(stream) + ": the byte at " +
                               std::to_string(offset + i) + " is wrong");
        return false;
    }
    return true;
}

void echo_traffic::tolerate(const session& s, const boost::system::error_code& error,
                            const char* where) {
    if (plan_.rough || stopping()) return;
    sim_.expect(false, "client " + std::to_string(s.number) + ": " + where +
                           " failed: " + error.message());
}

// --- clients that are scripts

void echo_traffic::start_peer(std::uint32_t stream) {
    scripted p{nullptr, stream, 0, true};
    p.who = sim_.connect_peer(at_.port(), at_.family());
    p.gentle = !plan_.rough || lot(0.5);
    const std::size_t total = draw(0, plan_.bytes);
    std::chrono::nanoseconds when{0};
    while (p.sent < total) {
        const std::size_t size = std::min(draw(1, longest_message), total - p.sent);
        const auto bytes = pattern(stream, p.sent, size);
        p.who->send({reinterpret_cast<const char*>(bytes.data()), size}, when);
        p.sent += size;
        if (lot(0.3)) when += std::chrono::microseconds(draw(0, 5000));
        if (lot(0.05)) {
            p.who->stop_reading(when);
            when += std::chrono::microseconds(draw(0, 20000));
            p.who->read_again(when);
        }
    }
    if (p.gentle || lot(0.3))
        p.who->half_close(when);
    else if (lot(0.5))
        p.who->reset(std::chrono::microseconds(draw(0, 10000)));
    else
        p.who->close(std::chrono::microseconds(draw(0, 10000)));
    peers_.push_back(std::move(p));
}

bool echo_traffic::peers_done() const {
    return std::all_of(peers_.begin(), peers_.end(), [](const scripted& p) {
        return p.who->saw_end() || p.who->error() != 0 || p.who->is_closed();
    });
}

void echo_traffic::check_peers() {
    for (const scripted& p : peers_) {
        const std::string& got = p.who->received();
        sim_.expect(got.size() <= p.sent, "a peer got more than it sent");
        const auto expected = pattern(p.stream, 0, std::min(got.size(), p.sent));
        sim_.expect(expected.empty() ||
                        std::memcmp(got.data(), expected.data(), expected.size()) == 0,
                    "peer " + std::to_string(p.stream) + " got wrong bytes");
        checked_ += expected.size();
        if (plan_.proxied && p.gentle && !stopping() && !home_.options().registered_descriptors)
            sim_.expect(got.size() == p.sent || !p.who->saw_end() || p.who->error() != 0,
                        "peer " + std::to_string(p.stream) + " heard a false end");
        if (plan_.rough || stopping()) continue;
        sim_.expect(p.who->error() == 0 && p.who->saw_end() && got.size() == p.sent,
                    "peer " + std::to_string(p.stream) + " sent " + std::to_string(p.sent) +
                        " bytes and got " + std::to_string(got.size()) + ", error " +
                        std::to_string(p.who->error()));
    }
}

}  // namespace sluice::sim
