// SPDX-License-Identifier: Apache-2.0
//! Two connections with a copy_bidirectional() between them, and what their peers do.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"
#include "sluice/copy_bidirectional.hpp"
#include "support/sanitizers.hpp"

namespace sluice::testing {

inline constexpr std::size_t copy_scale = under_sanitizer ? 8 : 1;

//! client <-> a, and b <-> server: what is between a and b is tested. All on one reactor.
struct line {
    tcp_stream client;
    tcp_stream a;
    tcp_stream b;
    tcp_stream server;

    //! Makes the sockets' buffers small: what is not read is soon stuck.
    void narrow() {
        for (tcp_stream* s : {&client, &a, &b, &server}) {
            CHECK(s->set_option(SOL_SOCKET, SO_SNDBUF, 32768));
            CHECK(s->set_option(SOL_SOCKET, SO_RCVBUF, 32768));
        }
    }
};

inline task<line> make_line() {
    auto to_client = co_await make_pair();
    auto to_server = co_await make_pair();
    line made;
    made.client = std::move(to_client.left);
    made.a = std::move(to_client.right);
    made.b = std::move(to_server.left);
    made.server = std::move(to_server.right);
    co_return made;
}

//! A copy from `a` to `b` and back that is under way, and what came of it.
struct copying {
    copying() { options.totals = &counts; }

    task<> run(line& l) {
        outcome = co_await copy_bidirectional(l.a, l.b, options);
        over = true;
    }
    //! Bytes of both directions.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return counts.a_to_b + counts.b_to_a; }

    copy_options options;
    copy_counts counts;
    copy_result outcome;
    bool over = false;
};

//! Sends bytes of a pattern, in pieces of random size, until there are `total` or it fails.
inline task<> say(tcp_stream& to, std::uint64_t seed, std::size_t total,
                  boost::system::error_code* failed = nullptr) {
    std::minstd_rand random(static_cast<unsigned>(seed + 1));
    for (std::size_t at = 0; at < total;) {
        const std::size_t size = std::min<std::size_t>(1 + random() % 70'000, total - at);
        const auto piece = pattern(seed).bytes(at, size);
        auto sent = co_await to.send_all(piece);
        if (!sent && failed != nullptr) *failed = sent.error();
        if (!sent) co_return;
        at += size;
    }
}

inline bool is_reset(const boost::system::error_code& e) {
    return e == boost::system::errc::connection_reset || e == boost::system::errc::broken_pipe;
}

inline task<> end_side(tcp_stream& of) {
    auto ended = co_await of.shutdown();
    CHECK(ended.has_value());
}

//! What a peer has heard, and how it ended.
struct heard {
    explicit heard(std::uint64_t seed) : reader(seed) {}
    pattern_reader reader;
    boost::system::error_code end;

    //! Whether it was a reset. Linux tells of it once: when a send was told, a receive gives the
    //! end of the stream.
    [[nodiscard]] bool reset(const boost::system::error_code& send_failed = {}) const {
        return is_reset(end) || (end == error::eof && is_reset(send_failed));
    }
};

inline task<> hear(tcp_stream& from, heard& all) {
    for (;;) {
        auto chunk = co_await from.recv();
        if (!chunk) {
            all.end = chunk.error();
            co_return;
        }
        CHECK(all.reader.take(chunk->bytes()));
    }
}

}  // namespace sluice::testing
