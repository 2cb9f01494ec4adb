// SPDX-License-Identifier: Apache-2.0
// What comes from one connection goes out on another: every byte, both ways, within limits.

#include "sluice/copy_bidirectional.hpp"

#include <thread>
#include <vector>

#include "loopback/copy_line.hpp"
#include "sluice/test.hpp"
#include "sluice/when_any.hpp"

using namespace std::chrono_literals;
using sluice::cancelled_error;
using sluice::copy_bidirectional;
using sluice::copy_result;
using sluice::error;
using sluice::net_stats_of;
using sluice::nursery;
using sluice::nursery_options;
using sluice::reactor;
using sluice::reactor_options;
using sluice::receive_mode;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::testing::copy_scale;
using sluice::testing::copying;
using sluice::testing::end_side;
using sluice::testing::hear;
using sluice::testing::heard;
using sluice::testing::line;
using sluice::testing::make_line;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::plain_socket;
using sluice::testing::run_net;
using sluice::testing::say;
using sluice::testing::until;
using sluice::testing::wire;

namespace {

//! Both peers send, end their side, and hear the other's bytes and end.
task<> converse(line& l, std::uint64_t seed, std::size_t up, std::size_t down) {
    heard at_server(seed);
    heard at_client(seed + 1);
    copying copy;
    auto ended = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&] { return copy.run(l); });
        scope.spawn([&] { return hear(l.server, at_server); });
        scope.spawn([&] { return hear(l.client, at_client); });
        scope.spawn([&]() -> task<> {
            co_await say(l.client, seed, up);
            co_await end_side(l.client);
        });
        scope.spawn([&]() -> task<> {
            co_await say(l.server, seed + 1, down);
            co_await end_side(l.server);
        });
        co_return;
    });
    CHECK(ended.has_value());
    CHECK(at_server.reader.taken() == up);
    CHECK(at_server.end == error::eof);
    CHECK(at_client.reader.taken() == down);
    CHECK(at_client.end == error::eof);
    CHECK(copy.outcome.in_order());
    CHECK(copy.outcome.a_to_b.bytes == up);
    CHECK(copy.outcome.b_to_a.bytes == down);
    CHECK(copy.counts.a_to_b == up);
    CHECK(copy.counts.b_to_a == down);
    CHECK(static_cast<bool>(l.a));
    CHECK(static_cast<bool>(l.b));
}

//! A blocking peer: says so many bytes, ends its side, and hears as many until the end.
void talk(plain_socket& s, std::uint64_t says, std::uint64_t hears, std::size_t total) {
    std::thread sender([&] {
        std::minstd_rand random(static_cast<unsigned>(says + 1));
        for (std::size_t at = 0; at < total;) {
            const auto size = std::min<std::size_t>(1 + random() % 300'000, total - at);
            if (!s.send(pattern(says).bytes(at, size))) return;
            at += size;
        }
        s.shutdown_write();
    });
    pattern_reader reader(hears);
    std::vector<std::byte> space(100'000);
    ssize_t n = 0;
    while ((n = s.recv(space)) > 0)
        reader.take(std::span(space).first(static_cast<std::size_t>(n)));
    sender.join();
    CHECK(n == 0);
    CHECK(reader.intact());
    CHECK(reader.taken() == total);
}

}  // namespace

TEST_SUITE_BEGIN("loopback.copy");

SLUICE_NET_TEST("copy: every byte, both ways at once, between peers that share no code with it") {
    constexpr std::size_t total = (24 << 20) / copy_scale;
    wire client = co_await make_wire();
    wire server = co_await make_wire();
    peer_thread clients([&] { talk(client.peer, 1, 2, total); });
    peer_thread servers([&] { talk(server.peer, 2, 1, total); });
    const copy_result outcome = co_await copy_bidirectional(client.stream, server.stream);
    CHECK(outcome.in_order());
    CHECK(outcome.a_to_b.bytes == total);
    CHECK(outcome.b_to_a.bytes == total);
    co_await clients.finished();
    co_await servers.finished();
}

SLUICE_NET_TEST("copy: 64 pairs of connections at once, with all amounts") {
    auto ended = co_await with_nursery([](nursery& scope) -> task<> {
        std::minstd_rand random(7);
        for (std::uint64_t i = 0; i < 64; ++i) {
            const std::size_t up = i == 0 ? 0 : random() % (1'000'000 / copy_scale);
            const std::size_t down = i < 2 ? 0 : random() % (1'000'000 / copy_scale);
            scope.spawn([i, up, down]() -> task<> {
                line l = co_await make_line();
                co_await converse(l, 2 * i, up, down);
            });
        }
        co_return;
    });
    CHECK(ended.has_value());
}

TEST_CASE("copy: through tiny buffers and limits") {
    reactor_options options;
    options.recv_buffers = 2;
    options.recv_buffer_size = 512;
    options.max_pending_bytes = 700;
    options.await_budget = 1;
    run_net(
        []() -> task<> {
            line l = co_await make_line();
            co_await converse(l, 1, 100'000 / copy_scale, 60'000 / copy_scale);
        },
        options);
}

SLUICE_NET_TEST("copy: over Unix sockets") {
    auto one = sluice::test::connected_pair(home).value();
    auto two = sluice::test::connected_pair(home).value();
    line l;
    l.client = std::move(one.left);
    l.a = std::move(one.right);
    l.b = std::move(two.left);
    l.server = std::move(two.right);
    co_await converse(l, 1, 1'000'000 / copy_scale, 500'000 / copy_scale);
}

SLUICE_NET_TEST("copy: the end of one side is passed on, and the other goes on") {
    constexpr std::size_t longer_than_all_buffers = (24 << 20) / copy_scale;
    for (const bool client_first : {true, false}) {
        CAPTURE(client_first);
        line l = co_await make_line();
        tcp_stream& first = client_first ? l.client : l.server;
        tcp_stream& second = client_first ? l.server : l.client;
        heard question(1);
        heard answer(2);
        copying copy;
        auto ended = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&] { return copy.run(l); });
            co_await say(first, 1, 100'000);
            co_await end_side(first);
            co_await hear(second, question);
            CHECK_FALSE(copy.over);
            scope.spawn([&]() -> task<> {
                co_await say(second, 2, longer_than_all_buffers);
                co_await end_side(second);
            });
            co_await hear(first, answer);
        });
        CHECK(ended.has_value());
        CHECK(question.reader.taken() == 100'000);
        CHECK(question.end == error::eof);
        CHECK(answer.reader.taken() == longer_than_all_buffers);
        CHECK(answer.end == error::eof);
        CHECK(copy.outcome.in_order());
    }
}

namespace {

//! Send requests of a copy that finds 64 KiB waiting in buffers of 1 KiB.
std::uint64_t sends_with(std::uint32_t max_leases, std::size_t max_bytes) {
    reactor_options options;
    options.recv_buffers = 256;
    options.recv_buffer_size = 1024;
    options.zcrx.mode = receive_mode::copy;  // chunks have another size
    std::uint64_t sends = 0;
    run_net(
        [&](reactor& home) -> task<> {
            constexpr std::size_t total = 64 * 1024;
            line l = co_await make_line();
            co_await say(l.client, 1, total);
            co_await end_side(l.client);
            const std::uint64_t before = net_stats_of(home).sends;
            heard at_server(1);
            copying copy;
            copy.options.max_leases = max_leases;
            copy.options.max_bytes = max_bytes;
            auto ended = co_await with_nursery([&](nursery& scope) -> task<> {
                scope.spawn([&] { return copy.run(l); });
                co_await hear(l.server, at_server);
                co_await end_side(l.server);
            });
            CHECK(ended.has_value());
            CHECK(at_server.reader.taken() == total);
            CHECK(net_stats_of(home).copied_out == 0);
            sends = net_stats_of(home).sends - before;
        },
        options);
    return sends;
}

}  // namespace

TEST_CASE("copy: buffers that wait together go out together, as many as the limits say") {
    const std::uint64_t one_by_one = sends_with(1, 1 << 20);
    CHECK(one_by_one >= 64);
    CHECK(sends_with(16, 1 << 20) <= one_by_one / 4);
    CHECK(sends_with(1000, 1) >= 64);
    CHECK(sends_with(1000, 4096) <= one_by_one / 3);
    CHECK(sends_with(1000, 4096) >= 16);
}

TEST_CASE("copy: a receiver that does not read stops the sender") {
    constexpr std::size_t far_too_much = 4 << 20;
    reactor_options options;
    options.recv_buffers = 512;
    options.recv_buffer_size = 1024;
    options.max_pending_bytes = 32 * 1024;
    options.zcrx.mode = receive_mode::copy;  // chunks have another size
    for (const bool upwards : {true, false}) {
        CAPTURE(upwards);
        run_net(
            [&](reactor& home) -> task<> {
                line l = co_await make_line();
                l.narrow();
                tcp_stream& says = upwards ? l.client : l.server;
                tcp_stream& silent = upwards ? l.server : l.client;
                tcp_stream& from = upwards ? l.a : l.b;
                heard all(1);
                copying copy;
                copy.options.max_leases = 4;
                auto ended = co_await with_nursery([&](nursery& scope) -> task<> {
                    scope.spawn([&] { return copy.run(l); });
                    scope.spawn([&]() -> task<> {
                        co_await say(says, 1, far_too_much);
                        co_await end_side(says);
                    });
                    const auto stuck = [&] { return from.pending() > 0; };
                    CHECK(co_await until(stuck));
                    for (int i = 0; i < 40; ++i) {
                        co_await sluice::testing::some_turns();
                        CHECK(from.pending() <= 32 * 1024);
                        const std::uint64_t taken = net_stats_of(home).bytes_in - from.pending();
                        CHECK(taken - copy.bytes() <= 4 * 1024);  // four buffers
                    }
                    // With what the sockets behind it hold.
                    CHECK(net_stats_of(home).bytes_in < 512 * 1024);
                    CHECK(stuck());
                    co_await hear(silent, all);
                    co_await end_side(silent);
                });
                CHECK(ended.has_value());
                CHECK(all.reader.taken() == far_too_much);
                CHECK(copy.outcome.in_order());
            },
            options);
    }
}

TEST_CASE("copy: silence ends it, a byte in either direction does not let it") {
    sluice::test::controlled_environment world;
    sluice::test::run(
        [](reactor& home) -> task<> {
            line l = co_await make_line();
            heard at_server(1);
            heard at_client(2);
            copying copy;
            copy.options.idle_timeout = 1h;
            const auto began = home.now();
            auto ended = co_await with_nursery([&](nursery& scope) -> task<> {
                scope.spawn([&] { return copy.run(l); });
                scope.spawn([&] { return hear(l.server, at_server); });
                scope.spawn([&] { return hear(l.client, at_client); });
                for (std::size_t i = 1; i <= 4; ++i) {
                    static_cast<void>(co_await sluice::sleep_for(50min));
                    co_await say(i % 2 == 0 ? l.client : l.server, i % 2 == 0 ? 1 : 2, 1);
                    at_server = heard(1);
                    at_client = heard(2);
                }
            });
            CHECK(ended.has_value());
            CHECK(home.now() - began >= 4 * 50min + 1h);
            CHECK(home.now() - began < 4 * 50min + 1h + 1min);
            CHECK(copy.outcome.a_to_b.end == error::timeout);
            CHECK(copy.outcome.b_to_a.end == error::timeout);
            CHECK(copy.outcome.a_to_b.bytes == 2);
            CHECK(copy.outcome.b_to_a.bytes == 2);
            CHECK(at_server.end == boost::system::errc::connection_reset);
            CHECK(at_client.end == boost::system::errc::connection_reset);
        },
        {.environment = &world});
}

SLUICE_NET_TEST("copy: cancelled while it waits, while it sends, and before it begins") {
    for (const int phase : {0, 1, 2}) {
        CAPTURE(phase);
        line l = co_await make_line();
        if (phase == 2) l.narrow();
        heard at_server(1);
        heard at_client(2);
        boost::system::error_code failed;
        copying copy;
        auto ended = co_await with_nursery(
            nursery_options{sluice::on_failure::collect}, [&](nursery& peers) -> task<> {
                nursery scope(home, {});
                if (phase == 0) scope.request_stop();
                scope.spawn([&] { return copy.run(l); });
                if (phase == 1) {
                    co_await say(l.client, 1, 1000);
                    peers.spawn([&] { return hear(l.server, at_server); });
                    CHECK(co_await until([&] { return at_server.reader.taken() == 1000; }));
                } else if (phase == 2) {
                    peers.spawn([&] { return say(l.client, 1, 16 << 20, &failed); });
                    CHECK(co_await until([&] { return l.a.pending() > 64 * 1024; }));
                }
                scope.request_stop();
                co_await scope.join();
                if (phase != 1) co_await hear(l.server, at_server);
                co_await hear(l.client, at_client);
            });
        CHECK(ended.has_value());
        CHECK(copy.outcome.a_to_b.end == cancelled_error());
        CHECK(copy.outcome.b_to_a.end == cancelled_error());
        CHECK_FALSE(static_cast<bool>(l.a));
        CHECK_FALSE(static_cast<bool>(l.b));
        CHECK(at_server.reset());
        CHECK(at_client.reset(failed));
    }
}

SLUICE_NET_TEST("copy: as a branch beside another") {
    line l = co_await make_line();
    co_await say(l.client, 1, 1000);
    auto copy = copy_bidirectional(l.a, l.b);
    auto first = co_await sluice::when_any(sluice::sleep_for(5ms), std::move(copy));
    CHECK(first.index == 0);
    REQUIRE(first.has<1>());  // the counts are there
    CHECK(first.get<1>().b_to_a.end == cancelled_error());
    heard at_server(1);
    co_await hear(l.server, at_server);
    CHECK(at_server.end == boost::system::errc::connection_reset);
}

TEST_SUITE_END();
