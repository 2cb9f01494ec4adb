// SPDX-License-Identifier: Apache-2.0
//! Zero-copy receive of the simulated kernel, and the reactor on it: every end of a receive and
//! every rung of the ladder by itself.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/uring.hpp"
#include "sim/raw_rx_queue.hpp"
#include "sluice/net_stats.hpp"
#include "sluice/nursery.hpp"
#include "sluice/tcp_stream.hpp"
#include "sluice/timeout.hpp"

using namespace sluice;
using namespace sluice::sim;
using namespace std::chrono_literals;

namespace {

//! A kernel, a ring, a connection, an rx queue, and what the kernel complained of.
struct receiving {
    explicit receiving(std::size_t chunks, const sim_options& options = quiet_options(kernel_7_3()),
                       unsigned cq_entries = 256)
        : sim(1, options),
          r(sim, std::min(64U, cq_entries), cq_entries, true),
          queue(sim, r, chunks) {
        sim.on_failure([this](std::uint64_t, const std::string& text) { complaint = text; });
        REQUIRE(queue.enroll() == 0);
    }

    void send(const std::string& text) {
        io_uring_prep_send(&r.next(77), pair.client, text.data(), text.size(), MSG_NOSIGNAL);
        CHECK(r.take(77).result == static_cast<int>(text.size()));
    }
    //! All CQEs that come before nothing more does; without events.
    std::vector<completion> rest() {
        std::vector<completion> all;
        for (int i = 0; i < 3; ++i)
            for (const completion& c : r.enter(100, 5))
                if (c.user_data == raw_rx_queue::event_mark)
                    ++events;
                else
                    all.push_back(c);
        return all;
    }

    std::string complaint;
    int events = 0;
    sim_kernel sim;
    raw_ring r;
    raw_rx_queue queue;
    connected_pair pair{connect_pair(sim, r)};
};

sim_options old_cqes() {
    sim_options o = quiet_options(kernel_7_3());
    o.kernel.cqe_mixed = false;
    return o;
}

template <class Answer>
int query(sim_kernel& sim, std::uint32_t what, Answer& answer) {
    io_uring_query_hdr question{};
    question.query_data = reinterpret_cast<std::uint64_t>(&answer);
    question.query_op = what;
    question.size = sizeof answer;
    const int done = sim.uring_register(-1, IORING_REGISTER_QUERY, &question, 0);
    return done < 0 ? done : question.result;
}

}  // namespace

TEST_CASE("sim zcrx: what a kernel says of itself") {
    io_uring_query_opcode operations{};
    io_uring_query_zcrx zcrx{};
    io_uring_query_zcrx_event event{};
    sim_kernel old(1, quiet_options(kernel_6_1()));
    CHECK(query(old, IO_URING_QUERY_OPCODES, operations) == -EINVAL);
    sim_kernel later(1, quiet_options(kernel_6_18()));
    CHECK(query(later, IO_URING_QUERY_OPCODES, operations) == 0);
    CHECK((operations.ring_setup_flags & IORING_SETUP_CQE_MIXED) != 0);
    CHECK(query(later, IO_URING_QUERY_ZCRX, zcrx) == -EOPNOTSUPP);
    sim_kernel now(1, quiet_options(kernel_7_3()));
    CHECK(query(now, IO_URING_QUERY_ZCRX, zcrx) == 0);
    CHECK(zcrx.nr_ctrl_opcodes == __ZCRX_CTRL_LAST);
    CHECK(zcrx.rq_hdr_size == 128);
    CHECK(query(now, IO_URING_QUERY_ZCRX_EVENT, event) == 0);
    CHECK(event.stats_size == sizeof(::zcrx_stats));
    CHECK(query(now, 99, event) == -EOPNOTSUPP);
}

TEST_CASE("sim zcrx: data goes into chunks, at most a page each, and says where") {
    for (const sim_options& options : {quiet_options(kernel_7_3()), old_cqes()}) {
        receiving w(8, options);
        w.queue.receive(w.pair.server, 5);
        w.send(std::string(4096, 'a') + std::string(100, 'b'));
        const auto all = w.rest();
        REQUIRE(all.size() == 2);
        CHECK(all[0].result == 4096);
        CHECK(all[1].result == 100);
        for (const completion& c : all) {
            CHECK(c.more());
            CHECK(((c.flags & IORING_CQE_F_32) != 0) == options.kernel.cqe_mixed);
        }
        CHECK(all[0].second_half != all[1].second_half);
        CHECK(w.queue.text(all[0]) == std::string(4096, 'a'));
        CHECK(w.queue.text(all[1]) == std::string(100, 'b'));
        CHECK(w.sim.lent_chunks() == 2);
        CHECK(w.queue.statistics().copy_count == 2);
        CHECK(w.queue.statistics().copy_bytes == 4196);
        CHECK(w.complaint.empty());
    }
}

TEST_CASE("sim zcrx: all that may be delivered ends a receive as the end of the stream does") {
    receiving w(8);
    w.queue.receive(w.pair.server, 5, 150);
    w.send(std::string(250, 'a'));
    auto all = w.rest();
    REQUIRE(all.size() == 2);
    CHECK(all[0].result == 150);
    CHECK(all[1].result == 0);
    CHECK(!all[1].more());
    CHECK(all[1].second_half == 0);
    w.queue.receive(w.pair.server, 5, 150);
    all = w.rest();
    REQUIRE(all.size() == 1);
    CHECK(all[0].result == 100);
    io_uring_prep_shutdown(&w.r.next(6), w.pair.client, SHUT_WR);
    CHECK(w.r.take(6).result == 0);
    const completion end = w.r.take(5);
    CHECK(end.result == 0);
    CHECK(!end.more());
    CHECK(w.sim.lent_chunks() == 2);
}

TEST_CASE("sim zcrx: without chunks it ends with ENOMEM, and entries count when flushed") {
    receiving w(2);
    w.queue.receive(w.pair.server, 5);
    w.send(std::string(3 * 4096, 'x'));
    auto all = w.rest();
    REQUIRE(all.size() == 3);
    CHECK(all[2].result == -ENOMEM);
    CHECK(!all[2].more());
    w.queue.give_back(all[0].second_half);
    w.queue.receive(w.pair.server, 5);
    CHECK(w.r.take(5).result == -ENOMEM);
    CHECK(w.queue.head() == 0);
    CHECK(w.queue.flush() == 0);
    CHECK(w.queue.head() == 1);
    w.queue.receive(w.pair.server, 5);
    const completion last = w.r.take(5);
    CHECK(last.result == 4096);
    CHECK(last.second_half == all[0].second_half);
    CHECK(w.complaint.empty());
}

TEST_CASE("sim zcrx: a full completion queue ends it with ENOSPC, and nothing is lost") {
    for (const sim_options& options : {quiet_options(kernel_7_3()), old_cqes()}) {
        receiving w(32, options, 8);
        std::string text;
        for (int i = 0; i < 20 * 4096; ++i) text += static_cast<char>('a' + i / 4096);
        w.queue.receive(w.pair.server, 5);
        std::string got;
        int full = 0;
        io_uring_prep_send(&w.r.next(77), w.pair.client, text.data(), text.size(),
                           MSG_NOSIGNAL | MSG_WAITALL);
        for (int i = 0; i < 100 && got.size() < text.size(); ++i)
            for (const completion& c : w.rest()) {
                if (c.user_data != 5) continue;
                if (c.more())
                    got += w.queue.text(c);
                else
                    w.queue.receive(w.pair.server, 5);
                if (c.result == -ENOSPC) ++full;
            }
        CHECK(got == text);
        CHECK(full > 0);
    }
}

TEST_CASE("sim zcrx: a receive is cancelled") {
    receiving w(2);
    w.queue.receive(w.pair.server, 5);
    w.r.enter(0);
    w.r.cancel(5, 6);
    CHECK(w.r.take(6).result == 0);
    CHECK(w.r.take(5).result == -ECANCELED);
}

TEST_CASE("sim zcrx: an area is added") {
    receiving w(1);
    w.queue.receive(w.pair.server, 5);
    w.send(std::string(2 * 4096, 'x'));
    CHECK(w.rest().size() == 2);
    auto more = w.queue.new_area(1);
    CHECK(w.queue.add_area(more) == 0);
    CHECK(more.rq_area_token == std::uint64_t{1} << IORING_ZCRX_AREA_SHIFT);
    w.queue.receive(w.pair.server, 5);
    const completion c = w.r.take(5);
    CHECK(c.second_half == more.rq_area_token);
    CHECK(w.queue.text(c) == std::string(4096, 'x'));
    auto odd = w.queue.new_area(1);
    odd.len = 100;
    CHECK(w.queue.add_area(odd) == -EINVAL);
}

TEST_CASE("sim zcrx: an event comes once until it is armed again") {
    receiving w(8);
    CHECK(w.queue.arm(ZCRX_EVENT_COPY) == -EINVAL);
    w.queue.receive(w.pair.server, 5);
    for (int i = 0; i < 3; ++i) {
        w.send("hello");
        w.rest();
    }
    CHECK(w.events == 1);
    CHECK(w.queue.arm(ZCRX_EVENT_COPY) == 0);
    w.send("hello");
    w.rest();
    CHECK(w.events == 2);
}

TEST_CASE("sim zcrx: what is given back is overwritten, and by mistake is noticed") {
    receiving w(4);
    w.queue.receive(w.pair.server, 5);
    w.send("secret");
    const auto all = w.rest();
    REQUIRE(all.size() == 1);
    SUBCASE("overwritten") {
        w.queue.give_back(all[0].second_half);
        w.r.enter(0);
        CHECK(w.queue.text(all[0]) != "secret");
        CHECK(w.sim.lent_chunks() == 0);
        CHECK(w.complaint.empty());
    }
    SUBCASE("twice") {
        w.queue.give_back(all[0].second_half);
        w.queue.give_back(all[0].second_half);
        w.r.enter(0);
        CHECK(w.complaint.find("the program has no reference to it") != std::string::npos);
    }
    SUBCASE("twice, the second time after a flush") {
        w.queue.give_back(all[0].second_half);
        CHECK(w.queue.flush() == 0);
        w.queue.give_back(all[0].second_half);
        CHECK(w.queue.flush() == 0);
        CHECK(w.complaint.find("the program has no reference to it") != std::string::npos);
    }
    SUBCASE("never delivered") {
        w.queue.give_back(0);  // Linux takes the chunk that came last in a list: not this one
        w.r.enter(0);
        CHECK(w.complaint.find("chunk 0 of area 0: given back") != std::string::npos);
    }
    SUBCASE("no such chunk") {
        w.queue.give_back(std::uint64_t{1} << IORING_ZCRX_AREA_SHIFT);
        w.r.enter(0);
        CHECK(w.complaint.find("there is no such chunk") != std::string::npos);
    }
    SUBCASE("more than the queue has room for") {
        for (int i = 0; i < 65; ++i) w.queue.give_back(all[0].second_half);
        w.r.enter(0);
        CHECK(w.complaint.find("further from its head") != std::string::npos);
    }
}

TEST_CASE("sim zcrx: a queue is exported, and imported by another ring") {
    receiving w(4);
    zcrx_ctrl c{};
    c.op = ZCRX_CTRL_EXPORT;
    REQUIRE(w.queue.control(c) == 0);
    raw_ring other(w.sim, 64, 256, true);
    io_uring_zcrx_ifq_reg request{};
    request.flags = ZCRX_REG_IMPORT;
    request.if_idx = c.zc_export.zcrx_fd;
    REQUIRE(other.rings().register_call(IORING_REGISTER_ZCRX_IFQ, &request, 1) == 0);
    io_uring_sqe& sqe = other.next(5);
    io_uring_prep_rw(IORING_OP_RECV_ZC, &sqe, w.pair.server, nullptr, 0, 0);
    sqe.ioprio |= IORING_RECV_MULTISHOT;
    sqe.zcrx_ifq_idx = request.zcrx_id;
    CHECK(other.submit() == 1);
    w.send("hello");
    CHECK(w.queue.text(other.take(5)) == "hello");
    w.rest();
    CHECK(w.events == 1);  // the ring that registered hears them
    CHECK(w.sim.close(static_cast<int>(c.zc_export.zcrx_fd)) == 0);
    request.zcrx_id = 0;
    CHECK(other.rings().register_call(IORING_REGISTER_ZCRX_IFQ, &request, 1) == -EBADF);
}

TEST_CASE("sim zcrx: what is refused") {
    sim_options options = quiet_options(kernel_7_3());
    options.lockable = 64 * 4096;
    sim_kernel sim(1, options);
    raw_ring r(sim, 64, 256, true);
    const auto refused = [&](auto spoil) {
        raw_rx_queue q(sim, r, 4);
        spoil(q);
        return q.enroll();
    };
    CHECK(refused([](raw_rx_queue& q) { q.request.rq_entries = 0; }) == -EINVAL);
    CHECK(refused([](raw_rx_queue& q) { q.request.if_rxq = 1; }) == -EINVAL);
    CHECK(refused([](raw_rx_queue& q) { q.request.rq_entries = 512; }) == -EINVAL);
    CHECK(refused([](raw_rx_queue& q) { q.request.rx_buf_len = 8192; }) == -EOPNOTSUPP);
    CHECK(refused([](raw_rx_queue& q) { q.events.stats_offset = 64; }) == -ERANGE);
    CHECK(refused([](raw_rx_queue& q) { q.area.len -= 1; }) == -EINVAL);
    CHECK(refused([](raw_rx_queue& q) { q.area.rq_area_token = 1; }) == -EINVAL);
    CHECK(refused([](raw_rx_queue& q) { q.area = q.new_area(65); }) == -ENOMEM);
    CHECK(refused([](raw_rx_queue& q) { q.request.flags = 0; }) == -ENODEV);
    CHECK(refused([](raw_rx_queue&) {}) == 0);
    sim.options().net_admin = false;
    CHECK(refused([](raw_rx_queue&) {}) == -EPERM);
    sim.options().net_admin = true;
    sim.options().kernel = kernel_6_18();
    CHECK(refused([](raw_rx_queue& q) { q.request.event_desc = 0; }) == -EINVAL);
}

// --- the reactor

namespace {

constexpr std::size_t chunk = raw_rx_queue::chunk;

//! So many chunks, and nothing that the ladder does by itself.
reactor_options with_chunks(std::size_t chunks) {
    reactor_options o;
    o.zcrx.mode = receive_mode::zc;
    o.zcrx.device_less = true;
    o.zcrx.pages = page_kind::small;
    o.zcrx.area_bytes = chunks * chunk;
    o.zcrx.max_area_bytes = chunks * chunk;
    o.zcrx.marks = {0, 0, 0, 0};
    o.zcrx.copy_always_below = 0;
    o.zcrx.max_leases_per_connection = 0;
    return o;
}

//! What a reactor had counted before it went.
struct counts {
    net_stats net;
    sluice::zcrx_stats queue;
    [[nodiscard]] rung_stats of(rung r) const { return net.zc_ladder.of(r); }
};

//! Runs `talk(reactor, stream, peer)` on a connection to a scripted peer; the books have to balance
//! at every moment, and nothing may be left.
template <class Talk>
counts with_peer(const reactor_options& options, Talk talk,
                 const std::function<void(fault_plan&)>& plan = {}) {
    sim_kernel sim(1, quiet_options(kernel_7_3()));
    if (plan) plan(sim.faults());
    counts last;
    {
        auto home = reactor::create_on(sim, options).value();
        std::shared_ptr<peer> other;
        sim.listen_peers(80, [&](const std::shared_ptr<peer>& p) { other = p; });
        sim.on_enter([&] { CHECK(zcrx_stats_of(*home).balanced()); });
        home->spawn([&]() -> task<> {
            auto connected = co_await tcp_stream::connect(endpoint::of("127.0.0.1", 80).value());
            REQUIRE(connected.has_value());
            while (other == nullptr) static_cast<void>(co_await sleep_for(1ms));
            co_await talk(*home, std::move(*connected), *other);
        });
        home->run_until_idle();
        last = {net_stats_of(*home), zcrx_stats_of(*home)};
        CHECK(last.queue.in_use);
        CHECK(last.queue.tokens_held == 0);
        CHECK(last.queue.handles == 0);
        CHECK(last.queue.chunks_out == 0);
        CHECK(sim.lent_chunks() == 0);
        CHECK(last.net.open == 0);
        sim.on_enter(nullptr);
    }
    CHECK(sim.check_clean() == "");
    CHECK(sim.books().requests == 0);
    return last;
}

//! A chunk's worth of one letter.
std::string page_of(char letter) { return std::string(chunk, letter); }

//! Receives exactly so many bytes, and holds what they came in.
task<std::vector<rx_buffer>> take(tcp_stream& stream, std::size_t bytes) {
    std::vector<rx_buffer> held;
    while (bytes != 0) {
        auto got = co_await with_timeout(1s, stream.recv());
        REQUIRE(got.has_value());
        REQUIRE(got->size() <= bytes);
        bytes -= got->size();
        held.push_back(std::move(*got));
    }
    co_return held;
}

std::string text_of(const std::vector<rx_buffer>& slices) {
    std::string text;
    for (const rx_buffer& s : slices)
        text.append(reinterpret_cast<const char*>(s.data()), s.size());
    return text;
}

}  // namespace

TEST_CASE("sim zcrx: bytes stay where they were received") {
    const counts c = with_peer(with_chunks(8), [](reactor&, tcp_stream stream, peer& p) -> task<> {
        p.send(page_of('a') + page_of('b') + "end");
        p.half_close();
        CHECK(text_of(co_await take(stream, 2 * chunk + 3)) == page_of('a') + page_of('b') + "end");
        CHECK((co_await stream.recv()).error() == error::eof);
    });
    CHECK(c.net.zero_copy_bytes == 2 * chunk + 3);
    CHECK(c.queue.tokens_delivered == 3);
    CHECK(c.queue.copied_bytes == 2 * chunk + 3);
}

TEST_CASE("sim zcrx: a receive that has used up what it may is not the end of the stream") {
    reactor_options options = with_chunks(8);
    options.max_pending_bytes = chunk;
    with_peer(options, [](reactor&, tcp_stream stream, peer& p) -> task<> {
        for (const char letter : {'a', 'b', 'c'}) {
            p.send(page_of(letter));
            CHECK(text_of(co_await take(stream, chunk)) == page_of(letter));
            CHECK((co_await with_timeout(5ms, stream.recv())).error() == error::timeout);
        }
        p.half_close();
        CHECK((co_await stream.recv()).error() == error::eof);
    });
}

TEST_CASE("sim zcrx: ends that only mean again are armed again") {
    for (const fault_kind kind :
         {fault_kind::no_cq_room, fault_kind::cancelled, fault_kind::no_memory,
          fault_kind::short_transfer, fault_kind::late}) {
        CAPTURE(kind);
        const counts c = with_peer(
            with_chunks(8),
            [](reactor&, tcp_stream stream, peer& p) -> task<> {
                p.send(page_of('a') + page_of('b') + page_of('c'));
                CHECK(text_of(co_await take(stream, 3 * chunk)) ==
                      page_of('a') + page_of('b') + page_of('c'));
            },
            [&](fault_plan& faults) {
                faults.fail_operation(IORING_OP_RECV_ZC, 2, {kind, 1'000'000});
            });
        CHECK(c.net.enospc == (kind == fault_kind::no_cq_room ? 1 : 0));
        CHECK(c.net.enobufs == (kind == fault_kind::no_memory ? 1 : 0));
    }
}

TEST_CASE("sim zcrx: a CQ with hardly any room") {
    for (const std::uint32_t entries : {1U, 2U, 4U}) {
        CAPTURE(entries);
        reactor_options options = with_chunks(16);
        options.sq_entries = entries;
        options.cq_entries = entries;
        with_peer(options, [](reactor&, tcp_stream stream, peer& p) -> task<> {
            std::string text;
            for (char letter = 'a'; letter <= 'h'; ++letter) text += page_of(letter);
            p.send(text);
            CHECK(text_of(co_await take(stream, text.size())) == text);
        });
    }
}

TEST_CASE("sim zcrx: more receives than the CQ has entries all get on") {
    sim_options world = quiet_options(kernel_7_3());
    world.call_limit = 10'000;
    sim_kernel sim(1, world);
    reactor_options options = with_chunks(64);
    options.sq_entries = 2;
    options.cq_entries = 4;
    constexpr int connections = 8;
    const std::string text = page_of('a') + page_of('b') + page_of('c');
    int done = 0;
    {
        auto home = reactor::create_on(sim, options).value();
        sim.listen_peers(80, [&](const std::shared_ptr<peer>& p) { p->send(text, 10ms); });
        for (int i = 0; i < connections; ++i)
            home->spawn([&]() -> task<> {
                auto stream = co_await tcp_stream::connect(endpoint::of("127.0.0.1", 80).value());
                REQUIRE(stream.has_value());
                CHECK(text_of(co_await take(*stream, text.size())) == text);
                ++done;
            });
        home->run_until_idle();
        CHECK(home->stats().cq_overflows > 0);
        CHECK(net_stats_of(*home).enospc > 0);
    }
    CHECK(done == connections);
    CHECK(sim.check_clean() == "");
}

TEST_CASE("sim zcrx: without chunks, the heap is next, and what is held stays") {
    const counts c =
        with_peer(with_chunks(2), [](reactor& home, tcp_stream stream, peer& p) -> task<> {
            p.send(page_of('a') + page_of('b') + page_of('c'));
            auto held = co_await take(stream, 3 * chunk);
            CHECK(text_of(held) == page_of('a') + page_of('b') + page_of('c'));
            CHECK(zcrx_stats_of(home).tokens_held == 2);
            CHECK(net_stats_of(home).zc_ladder.of(rung::heap).in_use());
            held.clear();
            p.send(page_of('d'), 1ms);
            held = co_await take(stream, chunk);
            CHECK(zcrx_stats_of(home).tokens_held == 1);
            CHECK(text_of(held) == page_of('d'));
        });
    CHECK(c.net.heap_receives == 1);
    CHECK(c.of(rung::heap).left == c.of(rung::heap).entered);
    CHECK(c.of(rung::heal).left == c.of(rung::heal).entered);
    CHECK(c.queue.copy_events == 2);  // armed again when nobody starved any more
}

TEST_CASE("sim zcrx: the refill queue is flushed before anything is copied") {
    reactor_options options = with_chunks(2);
    options.zcrx.refill_entries = 1;
    const counts c = with_peer(options, [](reactor&, tcp_stream stream, peer& p) -> task<> {
        for (char letter = 'a'; letter <= 'p'; ++letter) {
            p.send(page_of(letter));
            CHECK(text_of(co_await take(stream, chunk)) == page_of(letter));
        }
    });
    CHECK(c.net.heap_receives == 0);
    CHECK(c.queue.flushes > 0);
    CHECK(c.queue.tokens_returned == 16);
}

TEST_CASE("sim zcrx: the area grows as far as it may") {
    reactor_options options = with_chunks(1);
    options.zcrx.max_area_bytes = 2 * chunk;
    const counts c = with_peer(options, [](reactor& home, tcp_stream stream, peer& p) -> task<> {
        p.send(page_of('a') + page_of('b'));
        auto held = co_await take(stream, 2 * chunk);
        CHECK(text_of(held) == page_of('a') + page_of('b'));
        CHECK(zcrx_stats_of(home).tokens_held == 2);
        p.send(page_of('c'));
        auto more = co_await take(stream, chunk);
        CHECK(text_of(more) == page_of('c'));
        CHECK(zcrx_stats_of(home).tokens_held == 2);
    });
    CHECK(c.queue.areas == 2);
    CHECK(c.queue.chunks == 2);
    CHECK(c.of(rung::grow).in_use());
    CHECK(c.net.heap_receives == 1);
}

TEST_CASE("sim zcrx: what waits fits the grant, and the rest waits in the socket") {
    constexpr std::size_t granted = 16;
    reactor_options options = with_chunks(1024);
    options.zcrx.max_leases_per_connection = granted;
    std::string text;
    for (int i = 0; i < 8; ++i)
        for (char letter = 'a'; letter <= 'h'; ++letter) text += page_of(letter);
    SUBCASE("a slow reader that holds some itself") {
        const counts c =
            with_peer(options, [&](reactor& home, tcp_stream stream, peer& p) -> task<> {
                p.send(text);
                std::string got;
                std::vector<rx_buffer> held;
                while (got.size() < text.size()) {
                    static_cast<void>(co_await sleep_for(1ms));
                    CHECK(zcrx_stats_of(home).chunks_out <= granted);
                    auto slice = co_await with_timeout(1s, stream.recv());
                    REQUIRE(slice.has_value());
                    got.append(reinterpret_cast<const char*>(slice->data()), slice->size());
                    held.push_back(std::move(*slice));
                    if (held.size() > granted / 2) held.erase(held.begin());
                }
                CHECK(got == text);
            });
        CHECK(c.net.copied_out == 0);
        CHECK(c.net.zero_copy_bytes == text.size());
    }
    SUBCASE("a program that holds all of it gets copies") {
        const counts c = with_peer(options, [&](reactor&, tcp_stream stream, peer& p) -> task<> {
            p.send(text);
            CHECK(text_of(co_await take(stream, text.size())) == text);
        });
        CHECK(c.net.zero_copy_bytes == granted * chunk);
    }
}

TEST_CASE("sim zcrx: small slices are copied first, then all, then what waits is moved") {
    SUBCASE("small ones") {
        reactor_options options = with_chunks(4);
        options.zcrx.marks = {75, 0, 0, 0};
        const counts c =
            with_peer(options, [](reactor& home, tcp_stream stream, peer& p) -> task<> {
                p.send(page_of('a') + page_of('b'));
                auto held = co_await take(stream, 2 * chunk);
                p.send("small");
                auto small = co_await take(stream, 5);
                static_cast<void>(co_await sleep_for(1ms));  // the copied one goes back
                CHECK(zcrx_stats_of(home).tokens_held == 2);
                p.send(page_of('c'));
                auto large = co_await take(stream, chunk);
                CHECK(zcrx_stats_of(home).tokens_held == 3);
                CHECK(text_of(small) == "small");
            });
        CHECK(c.of(rung::small_copy).entered == 1);
        CHECK(c.of(rung::small_copy).left == 1);
        CHECK(c.net.copied_out == 1);
    }
    SUBCASE("all") {
        reactor_options options = with_chunks(4);
        options.zcrx.marks = {0, 50, 0, 0};
        const counts c =
            with_peer(options, [](reactor& home, tcp_stream stream, peer& p) -> task<> {
                p.send(page_of('a') + page_of('b') + page_of('c'));
                auto held = co_await take(stream, 3 * chunk);
                p.send(page_of('d') + page_of('e') + page_of('f'), 1ms);
                auto copies = co_await take(stream, 3 * chunk);
                static_cast<void>(co_await sleep_for(1ms));  // the copied ones go back
                CHECK(zcrx_stats_of(home).tokens_held == 2);
                CHECK(text_of(copies) == page_of('d') + page_of('e') + page_of('f'));
            });
        CHECK(c.of(rung::full_copy).entered == 1);
        CHECK(c.of(rung::full_copy).left == 1);
    }
    SUBCASE("what waits") {
        reactor_options options = with_chunks(4);
        options.zcrx.marks = {0, 0, 50, 0};
        const counts c =
            with_peer(options, [](reactor& home, tcp_stream stream, peer& p) -> task<> {
                p.send("a");
                auto held = co_await take(stream, 1);
                p.send(page_of('b') + page_of('c'));
                static_cast<void>(co_await sleep_for(20ms));
                CHECK(zcrx_stats_of(home).tokens_held == 1);
                CHECK(text_of(held) == "a");
                CHECK(text_of(co_await take(stream, 2 * chunk)) == page_of('b') + page_of('c'));
            });
        CHECK(c.of(rung::evacuate).entered == 1);
        CHECK(c.net.copied_out == 2);
    }
}

TEST_CASE("sim zcrx: with no heap to go to the window closes until a chunk is back") {
    reactor_options options = with_chunks(1);
    options.heap_receive_size = 0;
    const counts c = with_peer(options, [](reactor& home, tcp_stream stream, peer& p) -> task<> {
        p.send(page_of('a') + page_of('b'));
        auto held = co_await take(stream, chunk);
        CHECK((co_await with_timeout(1s, stream.recv())).error() == error::timeout);
        CHECK(net_stats_of(home).zc_ladder.of(rung::close_window).in_use());
        CHECK(text_of(held) == page_of('a'));
        held.clear();
        CHECK(text_of(co_await take(stream, chunk)) == page_of('b'));
        CHECK(!net_stats_of(home).zc_ladder.of(rung::close_window).in_use());
    });
    CHECK(c.net.heap_receives == 0);
}

TEST_CASE("sim zcrx: a queue for several reactors leaves no descriptor behind") {
    reactor_options options = with_chunks(4);
    options.zcrx.reactors_per_queue = 2;
    with_peer(options, [](reactor&, tcp_stream stream, peer& p) -> task<> {
        p.send("hello");
        CHECK(text_of(co_await take(stream, 5)) == "hello");
    });
}

TEST_CASE("sim zcrx: a demand that can't be met says so every time") {
    sim_options world = quiet_options(kernel_7_3());
    world.net_admin = false;
    sim_kernel sim(1, world);
    {
        auto home = reactor::create_on(sim, with_chunks(4)).value();
        home->spawn([]() -> task<> {
            for (int i = 0; i < 3; ++i) {
                auto stream = co_await tcp_stream::connect(endpoint::of("127.0.0.1", 80).value());
                CHECK(stream.error() == boost::system::errc::operation_not_permitted);
            }
        });
        home->run_until_idle();
    }
    CHECK(sim.check_clean() == "");
}

TEST_CASE("sim zcrx: where there is none a reactor copies, or does without") {
    for (const profile& kernel : {kernel_6_1(), kernel_6_18()})
        for (const receive_mode mode : {receive_mode::automatic, receive_mode::zc}) {
            sim_kernel sim(1, quiet_options(kernel));
            {
                reactor_options options = with_chunks(4);
                options.zcrx.mode = mode;
                auto home = reactor::create_on(sim, options).value();
                sim.listen_peers(80, [](const std::shared_ptr<peer>& p) { p->send("hello"); });
                home->spawn([&]() -> task<> {
                    auto stream =
                        co_await tcp_stream::connect(endpoint::of("127.0.0.1", 80).value());
                    CHECK(stream.has_value() == (mode == receive_mode::automatic));
                    if (!stream) co_return;
                    CHECK(text_of(co_await take(*stream, 5)) == "hello");
                });
                home->run_until_idle();
                CHECK(!zcrx_stats_of(*home).in_use);
            }
            CHECK(sim.check_clean() == "");
        }
}
