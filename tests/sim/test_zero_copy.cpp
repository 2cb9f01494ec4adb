// SPDX-License-Identifier: Apache-2.0
//! Zero-copy sends of the simulated kernel, as far as Linux can't be made to show them at will, and
//! the reactor on notifications that come late, in any order, or not at all.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/raw_ring.hpp"
#include "sluice/buffer_chain.hpp"
#include "sluice/net_stats.hpp"
#include "sluice/nursery.hpp"
#include "sluice/tcp_stream.hpp"
#include "sluice/timeout.hpp"

using namespace sluice;
using namespace sluice::sim;
using namespace std::chrono_literals;

namespace {

//! A kernel, a ring, a connection, and what the kernel complained of.
struct sending {
    explicit sending(const sim_options& options = quiet_options()) : sim(1, options) {
        sim.on_failure([this](std::uint64_t, const std::string& text) { complaint = text; });
    }

    //! The memory of the text is the kernel's until it is released: a literal, or a caller's own.
    void send(std::uint64_t user_data, std::string_view text) {
        io_uring_prep_send_zc(&r.next(user_data), pair.client, text.data(), text.size(),
                              MSG_NOSIGNAL, IORING_SEND_ZC_REPORT_USAGE);
        const completion accepted = r.take(user_data);
        CHECK(accepted.result == static_cast<int>(text.size()));
        CHECK(accepted.more());
    }

    std::string complaint;
    sim_kernel sim;
    raw_ring r{sim};
    connected_pair pair{connect_pair(sim, r)};
};

bool copied(const completion& c) {
    return (static_cast<std::uint32_t>(c.result) & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
}

}  // namespace

TEST_CASE("sim zero copy: the notification says whether it was copied") {
    for (const double rate : {0.0, 1.0}) {
        sim_options options = quiet_options();
        options.copied_rate = rate;
        sending w(options);
        w.send(5, "hello");
        const completion released = w.r.take(5);
        CHECK(!released.more());
        CHECK(copied(released) == (rate != 0));
    }
}

TEST_CASE("sim zero copy: memory that changes too early is noticed") {
    std::string text = "hello";
    sending w;
    w.send(5, text);
    text[0] = 'H';
    CHECK((w.r.take(5).flags & IORING_CQE_F_NOTIF) != 0);
    CHECK(w.complaint.find("its memory changed") != std::string::npos);
}

TEST_CASE("sim zero copy: an old kernel does not know of reports and fixed vectors") {
    sending w(quiet_options(kernel_6_1()));
    io_uring_prep_send_zc(&w.r.next(5), w.pair.client, "abc", 3, 0, IORING_SEND_ZC_REPORT_USAGE);
    CHECK(w.r.take(5).result == -EINVAL);
    iovec piece{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    io_uring_sqe& sqe = w.r.next(5);
    io_uring_prep_sendmsg_zc(&sqe, w.pair.client, &message, 0);
    sqe.ioprio |= IORING_RECVSEND_FIXED_BUF;
    CHECK(w.r.take(5).result == -EINVAL);
}

TEST_CASE("sim zero copy: notifications come in another order than the sends") {
    sim_options options = quiet_options();
    options.late_notice_rate = 1;
    bool reordered = false;
    for (std::uint64_t seed = 1; seed < 20 && !reordered; ++seed) {
        sending w(options);
        w.sim.random() = random_source(seed);
        w.send(5, "first");
        w.send(6, "second");
        std::vector<std::uint64_t> order;
        for (int i = 0; i < 50 && order.size() < 2; ++i)
            for (const completion& c : w.r.enter()) order.push_back(c.user_data);
        REQUIRE(order.size() == 2);
        reordered = order.front() == 6;
    }
    CHECK(reordered);
}

TEST_CASE("sim zero copy: a notification that is stuck comes with the reset") {
    sim_options options = quiet_options();
    options.stuck_notice_rate = 1;
    sending w(options);
    w.send(5, "hello");
    CHECK(w.r.enter(1, 1000).empty());
    const linger at_once{1, 0};
    CHECK(w.sim.set_option(w.pair.client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    CHECK(w.sim.close(w.pair.client) == 0);
    CHECK((w.r.take(5).flags & IORING_CQE_F_NOTIF) != 0);
}

TEST_CASE("sim zero copy: memory beyond the lockable can't be a fixed buffer") {
    sim_options options = quiet_options();
    options.lockable = 1000;
    sending w(options);
    std::string memory(1001, 'x');
    iovec vector{memory.data(), memory.size()};
    io_uring_rsrc_register table{};
    table.nr = 1;
    table.flags = IORING_RSRC_REGISTER_SPARSE;
    CHECK(w.r.rings().register_call(IORING_REGISTER_BUFFERS2, &table, sizeof table) == 0);
    io_uring_rsrc_update2 update{};
    update.nr = 1;
    update.data = reinterpret_cast<std::uint64_t>(&vector);
    CHECK(w.r.rings().register_call(IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update) ==
          -ENOMEM);
    vector.iov_len = 1000;
    CHECK(w.r.rings().register_call(IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update) == 1);
}

// --- the reactor

namespace {

reactor_options zero_copy() {
    reactor_options o;
    o.zero_copy_send_from = 1;
    return o;
}

//! Runs `talk(stream, peer)` on a connection to a scripted peer, and looks for what is left.
template <class Talk>
net_stats with_peer(const sim_options& world, const reactor_options& options, Talk talk,
                    const std::function<void(fault_plan&)>& plan = {}) {
    sim_kernel sim(1, world);
    if (plan) plan(sim.faults());
    net_stats last;
    {
        auto home = reactor::create_on(sim, options).value();
        std::shared_ptr<peer> other;
        sim.listen_peers(80, [&](const std::shared_ptr<peer>& p) { other = p; });
        home->spawn([&]() -> task<> {
            auto connected = co_await tcp_stream::connect(endpoint::of("127.0.0.1", 80).value());
            REQUIRE(connected.has_value());
            while (other == nullptr) static_cast<void>(co_await sleep_for(1ms));
            co_await talk(*home, std::move(*connected), *other);
        });
        home->run_until_idle();
        last = net_stats_of(*home);
        CHECK(last.held_sends == 0);
        CHECK(last.held_bytes == 0);
        CHECK(last.lingering == 0);
        CHECK(last.open == 0);
        CHECK(home->stats().live_operations == 0);
        CHECK(home->stats().live_frames == 0);
        CHECK(home->stats().live_timers == 0);
    }
    CHECK(sim.check_clean() == "");
    CHECK(sim.books().requests == 0);
    return last;
}

rx_buffer buffer_of(const std::string& text) {
    return rx_buffer::copy_of(std::as_bytes(std::span(text)));
}

}  // namespace

TEST_CASE("sim zero copy: a notification that never comes, and a stream that is closed") {
    sim_options world = quiet_options();
    world.stuck_notice_rate = 1;
    std::string heard;
    const net_stats stats =
        with_peer(world, zero_copy(), [&](reactor& home, tcp_stream stream, peer& p) -> task<> {
            auto sent = co_await stream.send_all(buffer_of("hello"));
            CHECK(sent.value() == 5);
            co_await stream.close();
            CHECK(net_stats_of(home).lingering == 1);
            static_cast<void>(co_await sleep_for(59s));
            heard = p.received();
            CHECK(p.saw_end());
            CHECK(p.error() == 0);
            CHECK(net_stats_of(home).held_sends == 1);
            static_cast<void>(co_await sleep_for(2s));
            CHECK(net_stats_of(home).held_sends == 0);
        });
    CHECK(heard == "hello");
    CHECK(stats.held_resets == 1);
}

TEST_CASE("sim zero copy: the kernel refuses one, and it is done again with a copy") {
    const net_stats stats = with_peer(
        quiet_options(), zero_copy(),
        [&](reactor&, tcp_stream stream, peer& p) -> task<> {
            for (const std::string text : {"one ", "two ", "three"}) {
                auto sent = co_await stream.send_all(buffer_of(text));
                CHECK(sent.value() == text.size());
                static_cast<void>(co_await sleep_for(10ms));
            }
            CHECK(p.received() == "one two three");
            co_await stream.close();
        },
        // The first two CQEs of the kind answered the reactor's question whether there is any.
        [](fault_plan& faults) {
            faults.fail_operation(IORING_OP_SEND_ZC, 5, {fault_kind::no_memory});
        });
    CHECK(stats.zero_copy_sends == 2);
    CHECK(stats.zero_copy_refused == 1);
    CHECK(stats.zero_copy_ended == 1);
    CHECK(stats.bytes_out == 13);
}

TEST_CASE("sim zero copy: where nothing is copied a connection keeps to it") {
    const net_stats stats = with_peer(
        quiet_options(), zero_copy(), [&](reactor&, tcp_stream stream, peer& p) -> task<> {
            std::string expected;
            for (int i = 0; i < 20; ++i) {
                const std::string text = std::to_string(i) + std::string(500, '.');
                expected += text;
                auto sent = co_await stream.send_all(buffer_of(text));
                CHECK(sent.has_value());
                static_cast<void>(co_await sleep_for(1ms));
            }
            static_cast<void>(co_await sleep_for(10ms));
            CHECK(p.received() == expected);
            co_await stream.close();
        });
    CHECK(stats.zero_copy_sends == 20);
    CHECK(stats.zero_copy_ended == 0);
}

TEST_CASE("sim zero copy: no memory may be locked, so there are no fixed buffers") {
    for (const std::size_t lockable : {std::size_t{0}, std::size_t{1} << 30}) {
        CAPTURE(lockable);
        sim_options world = quiet_options();
        world.lockable = lockable;
        const net_stats stats =
            with_peer(world, zero_copy(), [&](reactor&, tcp_stream stream, peer& p) -> task<> {
                std::string expected;
                for (int i = 0; i < 3; ++i) {
                    const std::string text = std::to_string(i) + std::string(500, '.');
                    expected += text;
                    p.send(text);
                    auto chunk = co_await stream.recv();
                    REQUIRE(chunk.has_value());
                    auto sent = co_await stream.send_all(std::move(*chunk));
                    CHECK(sent.has_value());
                }
                static_cast<void>(co_await sleep_for(10ms));
                CHECK(p.received() == expected);
                co_await stream.close();
            });
        CHECK(stats.zero_copy_sends == 3);
        CHECK(stats.fixed_regions == (lockable == 0 ? 0 : 1));
        CHECK(stats.fixed_refused == (lockable == 0 ? 1 : 0));
    }
}
