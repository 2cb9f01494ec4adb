// SPDX-License-Identifier: Apache-2.0
// A reactor for each queue of a NIC: connections live where their packets arrive, those that are
// opened too, and what arrives elsewhere is not lost.

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sluice/nic_session.hpp"
#include "sluice/on.hpp"
#include "sluice/placement.hpp"
#include "sluice/service.hpp"
#include "support/cores.hpp"
#include "vm/nic_rig.hpp"
#include "vm/nic_stream.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::endpoint;
using sluice::listen_options;
using sluice::listener_group;
using sluice::net_stats;
using sluice::net_stats_of;
using sluice::reactor;
using sluice::reactor_options;
using sluice::service;
using sluice::service_options;
using sluice::task;
using sluice::tcp_listener;
using sluice::tcp_stream;
using sluice::with_timeout;
using sluice::testing::has_nic;
using sluice::testing::make_reactor;
using sluice::testing::nic_rig;
using sluice::testing::on_nic;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::plain_listener;
using sluice::testing::plain_socket;
using sluice::testing::run_zcrx;
using sluice::testing::watchdog;
using sluice::testing::wire;

namespace {

constexpr std::uint64_t seed = 5;
constexpr std::size_t request_bytes = 16 * 1024;
constexpr std::size_t answer_bytes = 4096;

service_options reactors_on_nic(unsigned reactors, unsigned first_queue, std::uint32_t chunks) {
    service_options how = sluice::testing::cores(reactors);
    how.reactor = on_nic(chunks, first_queue);
    how.reactor.recv_buffers = 16;
    return how;
}

//! The NIC's main table, as it is now.
sluice::rss_table spread() {
    const auto state = sluice::inspect_nic("sw0");
    REQUIRE(state.has_value());
    return {state->hash_key, state->indirection};
}

//! An echo on each of `reactors` queues from `first` on, and what it has counted.
class placed_echo {
public:
    placed_echo(unsigned reactors, unsigned first, listen_options how)
        : first_(first),
          service_(reactors_on_nic(reactors, first, 512)),
          stats_(reactors),
          group_(listener_group::open(nic_rig::address(0), reactors, how).value()) {}

    //! So many connections, one after the other, from the peer's end.
    void talk(unsigned connections) {
        nic_rig::at_peer([&] {
            std::vector<plain_socket> open;
            for (unsigned i = 0; i < connections; ++i) {
                open.push_back(plain_socket::connect(group_.local()));
                const auto sent = pattern(seed).bytes(0, request_bytes);
                CHECK(open.back().send(sent));
                std::vector<std::byte> back(request_bytes);
                CHECK(open.back().recv_exact(back));
                CHECK(pattern(seed).matches(0, back));
            }
        });
    }

    //! `clients` runs on a thread of its own, beside the service.
    template <class F>
    net_stats run(F clients) {
        const watchdog limit(240s);
        spread_ = spread();
        peer_thread thread([&] {
            while (started_ < stats_.size()) std::this_thread::sleep_for(10ms);
            clients();
            service_.request_stop();
        });
        const auto report = service_.run([&](reactor& home) -> task<> { co_await serve_on(home); });
        REQUIRE(report.has_value());
        thread.join();
        net_stats sum;
        for (const net_stats& s : stats_) {
            sum.accepted += s.accepted;
            sum.accepts_right += s.accepts_right;
            sum.accepts_handed_over += s.accepts_handed_over;
            sum.accepts_taken_over += s.accepts_taken_over;
            sum.accepts_misplaced += s.accepts_misplaced;
            sum.accepts_unknown += s.accepts_unknown;
            sum.detours += s.detours;
            sum.zero_copy_bytes += s.zero_copy_bytes;
        }
        MESSAGE("accepted: right ", sum.accepts_right, ", handed over ", sum.accepts_handed_over,
                ", misplaced ", sum.accepts_misplaced, ", not known ", sum.accepts_unknown,
                "; detours ", sum.detours);
        return sum;
    }

    [[nodiscard]] unsigned served() const noexcept { return served_; }
    //! Connections that did not live on the reactor of their queue.
    [[nodiscard]] unsigned wrong() const noexcept { return wrong_; }
    //! So far.
    [[nodiscard]] std::uint64_t handed_over() const noexcept { return handed_over_; }

private:
    task<> serve_on(reactor& home) {
        auto listener = tcp_listener::open(home, group_);
        if (!listener) FAIL(sluice::explain_receive_error(listener.error(), home));
        ++started_;
        auto handler = [this](tcp_stream s) { return echo(std::move(s)); };
        auto ended = co_await sluice::serve(*listener, handler);
        static_cast<void>(ended);
        stats_[home.index()] = net_stats_of(home);
    }

    task<> echo(tcp_stream stream) {
        const unsigned here = stream.home().index();
        const auto owner = sluice::queue_owner(stream);
        const auto queue =
            sluice::queue_of_flow(spread_, stream.peer().value(), stream.local().value());
        ++served_;
        if (owner != here || queue != first_ + here) ++wrong_;
        handed_over_ =
            std::max<std::uint64_t>(handed_over_, net_stats_of(stream.home()).accepts_taken_over);
        for (;;) {
            auto chunk = co_await stream.recv();
            if (!chunk) co_return;
            auto sent = co_await stream.send_all(std::move(*chunk));
            if (!sent) co_return;
        }
    }

    unsigned first_;
    service service_;
    std::vector<net_stats> stats_;
    listener_group group_;
    sluice::rss_table spread_;
    std::atomic<std::size_t> started_{0};
    std::atomic<unsigned> served_{0};
    std::atomic<unsigned> wrong_{0};
    std::atomic<std::uint64_t> handed_over_{0};
};

listen_options steered(unsigned reactors, unsigned first) {
    listen_options how;
    how.steer = sluice::steer_to_rx_queues(on_nic(512, first).zcrx, reactors);
    return how;
}

void spread_over(unsigned first, unsigned queues) {
    REQUIRE(nic_rig::run("ethtool -X sw0 start " + std::to_string(first) + " equal " +
                         std::to_string(queues)));
}

//! A stream that reactor 0 has accepted, by queue 1; reactor 1 has queue 2.
struct accepted {
    tcp_stream stream;
    plain_socket peer;
    std::uint16_t port = 0;

    //! By a rule that goes before the other one.
    void lead_to(unsigned queue) const {
        CHECK(nic_rig::run("ethtool -N sw0 flow-type tcp4 dst-port " + std::to_string(port) +
                           " action " + std::to_string(queue) + " loc 0"));
    }
};

//! Runs `fn(accepted&)` on reactor 0 of a service.
template <class F>
void with_two_queues(nic_rig& nic, F fn) {
    const watchdog limit(240s);
    service s(reactors_on_nic(2, 1, 1024));
    auto group = listener_group::open(nic_rig::address(0), 1).value();
    nic.steer(group.local().port(), 1);
    std::atomic<bool> ready{false};
    const auto report = s.run([&](reactor& home) -> task<> {
        auto own = listener_group::open(nic_rig::address(0), 1).value();
        auto listener = tcp_listener::open(home, home.index() == 0 ? group : own);
        if (!listener) FAIL(sluice::explain_receive_error(listener.error(), home));
        if (home.index() != 0) {  // has its queue now, and nothing to do
            ready = true;
            auto never = co_await listener->accept();
            CHECK(!never.has_value());
            co_return;
        }
        CHECK(co_await sluice::testing::until([&] { return ready.load(); }));
        accepted a;
        a.peer = nic_rig::connect_from_peer(group.local());
        auto stream = co_await with_timeout(20s, listener->accept());
        REQUIRE(stream.has_value());
        a.stream = std::move(*stream);
        a.port = group.local().port();
        co_await fn(a);
        s.request_stop();
    });
    REQUIRE(report.has_value());
}

task<> receive_rest(tcp_stream& stream, pattern_reader& into) {
    for (;;) {
        auto chunk = co_await with_timeout(40s, stream.recv());
        if (!chunk) {
            CHECK(chunk.error() == sluice::error::eof);
            co_return;
        }
        into.take(chunk->bytes());
    }
}

}  // namespace

TEST_SUITE_BEGIN("vm.placement");

TEST_CASE("placement: each of 64 connections lives on the reactor of its queue") {
    if (!has_nic()) return;
    for (const unsigned reactors : {2U, 4U}) {
        CAPTURE(reactors);
        const unsigned first = 4 - reactors;
        nic_rig nic;
        spread_over(first, reactors);
        placed_echo echo(reactors, first, steered(reactors, first));
        const net_stats sum = echo.run([&] { echo.talk(64); });
        CHECK(echo.served() == 64);
        CHECK(echo.wrong() == 0);
        CHECK(sum.accepts_right == 64);
        CHECK(sum.accepts_handed_over == 0);
        CHECK(sum.detours == 0);
        CHECK(sum.zero_copy_bytes > 0);
    }
}

TEST_CASE("placement: where the kernel chooses the listener, connections are handed over") {
    if (!has_nic()) return;
    for (const unsigned reactors : {2U, 4U}) {
        CAPTURE(reactors);
        const unsigned first = 4 - reactors;
        nic_rig nic;
        spread_over(first, reactors);
        placed_echo echo(reactors, first, {});
        const net_stats sum = echo.run([&] { echo.talk(64); });
        CHECK(echo.served() == 64);
        CHECK(echo.wrong() == 0);
        CHECK(sum.accepted == 64);
        CHECK(sum.accepts_handed_over > 0);
        CHECK(sum.accepts_taken_over == sum.accepts_handed_over);
        CHECK(sum.accepts_right + sum.accepts_handed_over == 64);
        CHECK(sum.detours == 0);
    }
}

TEST_CASE("placement: what the interface adds to queue numbers is learnt from connections") {
    if (!has_nic()) return;
    nic_rig nic;
    spread_over(0, 4);
    listen_options how = steered(4, 0);
    REQUIRE(how.steer.queue_offset == 1);
    how.steer.queue_offset = 0;
    placed_echo echo(4, 0, how);
    const net_stats sum = echo.run([&] { echo.talk(96); });
    CHECK(echo.served() == 96);
    CHECK(echo.wrong() == 0);
    // With the wrong number three in four are handed over, for ever.
    CHECK(sum.accepts_handed_over >= 8);
    CHECK(sum.accepts_handed_over < 48);
    CHECK(sum.accepts_right + sum.accepts_handed_over == 96);
}

TEST_CASE("placement: without it connections stay, and their bytes are fetched from elsewhere") {
    if (!has_nic()) return;
    nic_rig nic;
    spread_over(2, 2);
    listen_options how;
    how.hand_over = false;
    placed_echo echo(2, 2, how);
    const net_stats sum = echo.run([&] { echo.talk(32); });
    CHECK(echo.served() == 32);
    CHECK(echo.wrong() > 0);
    CHECK(sum.accepts_handed_over == 0);
    CHECK(sum.detours > 0);
}

TEST_CASE("placement: a rule changes again and again under a stream, and no byte is lost") {
    if (!has_nic()) return;
    nic_rig nic;
    constexpr std::uint64_t part = 512 * 1024;
    constexpr unsigned parts = 8;
    net_stats here;
    with_two_queues(nic, [&](accepted& a) -> task<> {
        peer_thread sender([&] {
            for (unsigned i = 0; i < parts; ++i) {
                if (i % 2 == 1) a.lead_to(2);
                if (i % 2 == 0 && i != 0) CHECK(nic_rig::run("ethtool -N sw0 delete 0"));
                CHECK(a.peer.send(pattern(seed).bytes(i * part, part)));
            }
            a.peer.shutdown_write();
        });
        const std::uint64_t taken = co_await sluice::testing::receive_checked(a.stream, seed);
        CHECK(taken == part * parts);
        co_await sender.finished();
        here = net_stats_of(a.stream.home());
    });
    MESSAGE("detours ", here.detours, ", bytes by the other queue ", here.detoured_bytes, " of ",
            part * parts);
    CHECK(here.detours >= 2);
    CHECK(here.detoured_bytes >= part);
    CHECK(here.zero_copy_bytes >= part);
    CHECK(nic_rig::counter("provider_bytes", 1) >= part);
    CHECK(nic_rig::counter("provider_bytes", 2) >= part);
}

TEST_CASE("placement: a stream whose rule has changed moves to the owner of its queue") {
    if (!has_nic()) return;
    nic_rig nic;
    constexpr std::uint64_t part = 1 << 20;
    pattern_reader reader(seed);
    net_stats there;
    with_two_queues(nic, [&](accepted& a) -> task<> {
        peer_thread sender([&] {
            CHECK(a.peer.send(pattern(seed).bytes(0, part)));
            a.lead_to(2);
            CHECK(a.peer.send(pattern(seed).bytes(part, 3 * part)));
            a.peer.shutdown_write();
        });
        CHECK(sluice::queue_owner(a.stream) == 0);
        // What was sent before the rule came is taken here.
        while (sluice::queue_owner(a.stream) != 1 && reader.taken() < 2 * part) {
            auto chunk = co_await with_timeout(40s, a.stream.recv());
            REQUIRE(chunk.has_value());
            reader.take(chunk->bytes());
        }
        CHECK(sluice::queue_owner(a.stream) == 1);
        auto moved = co_await a.stream.move_to(1);
        CHECK(moved.has_value());
        auto rest = [](tcp_stream stream, pattern_reader& into, net_stats& counts) -> task<> {
            co_await receive_rest(stream, into);
            counts = net_stats_of(*reactor::current());
        };
        co_await sluice::on(1, rest, std::move(a.stream), std::ref(reader), std::ref(there));
        co_await sender.finished();
    });
    CHECK(reader.intact());
    CHECK(reader.taken() == 4 * part);
    MESSAGE("without copies after the move: ", there.zero_copy_bytes, ", by detours ",
            there.detoured_bytes);
    CHECK(there.zero_copy_bytes >= part);
}

TEST_CASE("placement: bytes in a queue of somebody else are told of, once, and can still be had") {
    if (!has_nic()) return;
    nic_rig nic;
    std::atomic<bool> bound{false};
    std::atomic<bool> done{false};
    // A reactor of no service has no others whose queues it could read.
    std::thread other([&] {
        const auto home = make_reactor(on_nic(64, 2));
        const auto listener = sluice::testing::listen_on(*home, 0);
        bound = true;
        while (!done) std::this_thread::sleep_for(10ms);
    });
    run_zcrx(
        [&](reactor& home) -> task<> {
            CHECK(co_await sluice::testing::until([&] { return bound.load(); }));
            wire w = co_await sluice::testing::make_nic_wire(home, nic, 1);
            CHECK(w.peer.send(pattern(seed).bytes(0, 4096)));
            pattern_reader reader(seed);
            while (reader.taken() < 4096) {
                auto chunk = co_await with_timeout(20s, w.stream.recv());
                REQUIRE(chunk.has_value());
                reader.take(chunk->bytes());
            }
            CHECK(reader.intact());
            CHECK(nic_rig::run("ethtool -N sw0 flow-type tcp4 dst-port " +
                               std::to_string(w.stream.local()->port()) + " action 2 loc 0"));
            CHECK(w.peer.send(pattern(seed).bytes(4096, 4096)));
            for (int i = 0; i < 2; ++i) {
                auto refused = co_await with_timeout(20s, w.stream.recv());
                REQUIRE(!refused.has_value());
                CHECK(refused.error() == sluice::errno_error(EFAULT));
            }
            CHECK(sluice::queue_owner(w.stream) == 1);
        },
        on_nic(1024));
    done = true;
    other.join();
}

TEST_CASE("placement: connections that are opened land on the reactor's own queue") {
    if (!has_nic()) return;
    nic_rig nic;
    constexpr unsigned each = 24;
    const watchdog limit(240s);
    std::unique_ptr<plain_listener> upstream;
    nic_rig::at_peer(
        [&] { upstream = std::make_unique<plain_listener>(endpoint::of("10.78.0.2", 0).value()); });
    sluice::nic_request request;
    request.interface = "sw0";
    request.queues = {2, 3};
    request.peer_ports = {upstream->local().port()};
    auto session = sluice::nic_session::open(request, "/tmp/placement.json");
    if (!session) FAIL(session.error().message);
    service_options how = reactors_on_nic(2, 2, 1024);
    REQUIRE(session->use(how.reactor.zcrx, 2).has_value());
    REQUIRE(how.reactor.zcrx.replies != nullptr);
    CHECK(how.reactor.zcrx.replies->queues.size() == 128);
    // The port is searched, or each flow has a rule of its own, or neither.
    enum class by { port, rule, chance };
    for (const by way : {by::port, by::rule, by::chance}) {
        CAPTURE(static_cast<int>(way));
        std::atomic<unsigned> right{0};
        std::atomic<unsigned> opened{0};
        std::atomic<unsigned> ready{0};
        std::vector<net_stats> counts(2);
        peer_thread server([&] {
            std::vector<plain_socket> open;
            for (unsigned i = 0; i < 2 * each; ++i) {
                open.push_back(upstream->accept());
                CHECK(open.back().send(pattern(seed).bytes(0, answer_bytes)));
            }
            for (plain_socket& one : open) CHECK(one.recv_all().empty());
        });
        service s(how);
        const auto report = s.run([&](reactor& home) -> task<> {
            auto mine = listener_group::open(nic_rig::address(0), 1).value();
            {
                // Both have their queues before anybody connects.
                auto listener = tcp_listener::open(home, mine);
                CHECK(listener.has_value());
                ++ready;
                CHECK(co_await sluice::testing::until([&] { return ready == 2; }));
            }
            std::vector<tcp_stream> streams;
            for (unsigned i = 0; i < each; ++i) {
                sluice::connect_options options;
                options.to_own_queue = way == by::port;
                if (way == by::rule) {
                    options.bind_local = true;
                    options.local = nic_rig::address(
                        static_cast<std::uint16_t>(20000 + home.index() * each + i));
                    const std::string rule = "ethtool -N sw0 flow-type tcp4 src-port " +
                                             std::to_string(upstream->local().port()) +
                                             " dst-port " + std::to_string(options.local.port()) +
                                             " action " + std::to_string(2 + home.index());
                    CHECK(nic_rig::run(rule));
                }
                auto stream = co_await tcp_stream::connect(upstream->local(), options);
                if (!stream) FAIL(stream.error().message());
                ++opened;
                if (sluice::queue_owner(*stream) == home.index()) ++right;
                pattern_reader reader(seed);
                while (reader.taken() < answer_bytes) {
                    auto chunk = co_await with_timeout(40s, stream->recv());
                    if (!chunk) FAIL(chunk.error().message());
                    reader.take(chunk->bytes());
                }
                CHECK(reader.intact());
                streams.push_back(std::move(*stream));
            }
            counts[home.index()] = net_stats_of(home);
        });
        REQUIRE(report.has_value());
        server.join();
        constexpr const char* names[] = {"port searched: ", "a rule for each: ", "by chance: "};
        MESSAGE(std::string(names[static_cast<int>(way)]), right.load(), " of ", opened.load(),
                " on the reactor's own queue");
        CHECK(opened == 2 * each);
        CHECK((right == 2 * each) == (way != by::chance));
        CHECK((counts[0].detours + counts[1].detours != 0) == (way == by::chance));
        const unsigned asked = way == by::port ? 2 * each : 0;
        CHECK(counts[0].connects_right + counts[1].connects_right == asked);
        CHECK(counts[0].connects_elsewhere + counts[1].connects_elsewhere == 0);
    }
}

TEST_SUITE_END();
