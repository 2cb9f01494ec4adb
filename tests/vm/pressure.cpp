// SPDX-License-Identifier: Apache-2.0
// A queue of a NIC whose chunks are all held: what that does to the other connections of the queue,
// by the rules of the ladder and without them; and memory that is added meanwhile.

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <string>
#include <vector>

#include "vm/nic_rig.hpp"
#include "vm/nic_stream.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::nursery;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rung;
using sluice::rx_buffer;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::zcrx_stats_of;
using sluice::testing::has_nic;
using sluice::testing::make_nic_wire;
using sluice::testing::nic_rig;
using sluice::testing::on_nic;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::plain_socket;
using sluice::testing::run_zcrx;
using sluice::testing::until;
using sluice::testing::wire;

namespace {

using clock = std::chrono::steady_clock;

// The budget of the area, in chunks. A sixteenth is kept for the kernel's copies: 48. The NIC has
// posted 64. For each of 10 connections the admission rule sets aside 33, which what waits in its
// socket may take, and 16 that its coroutine may keep: 490. Together 602 of 768. What the holders
// are sent and keep would take 2048.
constexpr std::uint32_t chunks = 768;
constexpr std::uint32_t posted = 64;
constexpr std::uint32_t leases = 16;
constexpr int receive_buffer = 65536;  // bytes; the kernel doubles it
constexpr std::size_t holders = 8;
constexpr std::size_t others = 2;
constexpr std::uint64_t held_bytes = 1 << 20;  // of each holder

//! A connection, from the other end to the coroutine.
struct flow {
    flow(wire made, std::uint64_t number) : ends(std::move(made)), seed(number), reader(number) {}
    wire ends;
    std::uint64_t seed;
    pattern_reader reader;
    std::vector<rx_buffer> kept;
};

//! Receives to the end of the stream; what comes while `keep` is kept.
task<> take(flow& from, const bool& keep) {
    for (;;) {
        auto chunk = co_await with_timeout(120s, from.ends.stream.recv());
        if (!chunk) {
            CHECK(chunk.error() == sluice::error::eof);
            co_return;
        }
        from.reader.take(chunk->bytes());
        if (keep) from.kept.push_back(std::move(*chunk));
    }
}

//! Sends until `enough` bytes have gone or `over`.
void feed(flow& to, std::uint64_t enough, const std::atomic<bool>& over) {
    constexpr std::size_t part = 65536;
    const timeval patience{120, 0};
    ::setsockopt(to.ends.peer.fd(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    for (std::uint64_t sent = 0; sent < enough && !over; sent += part)
        if (!to.ends.peer.send(pattern(to.seed).bytes(sent, part))) return;
    to.ends.peer.shutdown_write();
}

std::uint64_t retransmits(const flow& of) {
    tcp_info info{};
    socklen_t size = sizeof info;
    CHECK(::getsockopt(of.ends.peer.fd(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
    return info.tcpi_total_retrans;
}

//! Holders on the one side, on the other connections that take and let go.
class contest {
public:
    struct result {
        double before = 0;  // bytes a second of the others: while the holders have not begun
        double after = 0;   // and while they hold
        std::uint64_t drops = 0;
        std::uint64_t sent_again = 0;  // segments of the others
    };

    contest(reactor& home, nic_rig& nic, bool naive) : home_(home), nic_(nic), naive_(naive) {}

    task<> run() {
        co_await connect();
        static_cast<void>(co_await with_nursery([this](nursery& scope) -> task<> {
            for (flow& f : flows_) scope.spawn([this, &f] { return take(f, keeps(f)); });
            co_await compete();
        }));
        for (const flow& f : flows_) CHECK(f.reader.intact());
    }

    [[nodiscard]] const result& found() const { return found_; }

private:
    [[nodiscard]] bool is_holder(const flow& f) const { return f.seed < holders; }
    [[nodiscard]] const bool& keeps(const flow& f) const { return is_holder(f) ? hold_ : never_; }

    task<> connect() {
        sluice::listen_options how;
        how.receive_buffer = receive_buffer;
        auto group = sluice::listener_group::open(nic_rig::address(0), 1, how);
        REQUIRE(group.has_value());
        auto listener = sluice::tcp_listener::open(home_, *group);
        REQUIRE(listener.has_value());
        nic_.steer(group->local().port());
        for (std::size_t i = 0; i < holders + others; ++i) {
            plain_socket peer = nic_rig::connect_from_peer(group->local());
            auto stream = co_await with_timeout(20s, listener->accept());
            REQUIRE(stream.has_value());
            flows_.emplace_back(wire{std::move(*stream), std::move(peer)}, i);
        }
    }

    task<> compete() {
        std::vector<peer_thread> senders;
        for (flow& f : flows_)
            if (!is_holder(f)) senders.emplace_back([&] { feed(f, UINT64_MAX, over_); });
        static_cast<void>(co_await sleep_for(1s));
        found_.before = co_await goodput();
        for (flow& f : flows_)
            if (is_holder(f)) senders.emplace_back([&] { feed(f, held_bytes, over_); });
        co_await all_is_held();
        found_.after = co_await goodput();
        found_.drops = nic_rig::counter("alloc_fail");
        over_ = true;
        hold_ = false;
        for (flow& f : flows_) {
            if (!is_holder(f)) found_.sent_again += retransmits(f);
            f.kept.clear();
        }
        for (peer_thread& sender : senders) co_await sender.finished();
    }

    // By the rules the holders get all that they are sent; without, the NIC runs dry before.
    task<> all_is_held() {
        const auto all = [this] {
            return std::all_of(flows_.begin(), flows_.end(), [this](const flow& f) {
                return !is_holder(f) || f.reader.taken() == held_bytes;
            });
        };
        for (int i = 0; i < 300 && !(naive_ ? nic_rig::counter("alloc_fail") > 0 : all()); ++i)
            static_cast<void>(co_await sleep_for(100ms));
        CHECK(all() != naive_);
        static_cast<void>(co_await sleep_for(1s));  // what had arrived is taken
    }

    //! Of the others, in bytes a second: the median of some windows.
    task<double> goodput() {
        std::array<double, 5> rates{};
        for (double& rate : rates) {
            const std::uint64_t before = taken_by_others();
            const auto begin = clock::now();
            static_cast<void>(co_await sleep_for(2s));
            rate = static_cast<double>(taken_by_others() - before) /
                   std::chrono::duration<double>(clock::now() - begin).count();
        }
        std::sort(rates.begin(), rates.end());
        co_return rates[rates.size() / 2];
    }
    [[nodiscard]] std::uint64_t taken_by_others() const {
        std::uint64_t sum = 0;
        for (const flow& f : flows_)
            if (!is_holder(f)) sum += f.reader.taken();
        return sum;
    }

    reactor& home_;
    nic_rig& nic_;
    const bool naive_;
    std::deque<flow> flows_;
    bool hold_ = true;
    const bool never_ = false;
    std::atomic<bool> over_{false};
    result found_;
};

contest::result compete(bool naive) {
    nic_rig nic;
    nic.set("posted_limit", posted);
    nic.set_mtu(9000);
    reactor_options options = on_nic(chunks);
    options.zcrx.posted_chunks = posted;
    options.zcrx.max_leases_per_connection = leases;
    if (naive) {
        options.zcrx.marks = {0, 0, 0, 0};
        options.zcrx.max_leases_per_connection = 0;
        options.copy_out_below = 0;
        options.heap_receive_size = 0;
    }
    contest::result found;
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> {
            contest c(home, nic, naive);
            co_await c.run();
            found = c.found();
        },
        options, 300s);
    if (!naive) CHECK(outcome.net.net.grants_cut == 0);
    MESSAGE(std::string(naive ? "naive" : "ladder")
            << ": " << found.before / 1e6 << " MB/s before, " << found.after / 1e6
            << " MB/s while all leases are held, " << found.drops << " dropped, "
            << found.sent_again << " sent again");
    return found;
}

//! Keeps what it receives as long as the queue may grow; then takes the rest.
task<> outgrow(reactor& home, nic_rig& nic, std::uint64_t bytes, std::uint64_t most_areas) {
    flow f(co_await make_nic_wire(home, nic), 3);
    std::atomic<bool> over{false};
    peer_thread sender([&] { feed(f, bytes, over); });
    while (f.reader.taken() < bytes) {
        auto chunk = co_await with_timeout(40s, f.ends.stream.recv());
        REQUIRE(chunk.has_value());
        f.reader.take(chunk->bytes());
        if (zcrx_stats_of(home).areas < most_areas)
            f.kept.push_back(std::move(*chunk));
        else
            f.kept.clear();
    }
    CHECK(f.reader.intact());
    co_await sender.finished();
}

}  // namespace

TEST_SUITE_BEGIN("vm.pressure");

TEST_CASE("nic: holders of every lease stop the others of a naive program, and not those of ours") {
    if (!has_nic()) return;
    const contest::result naive = compete(true);
    const contest::result ladder = compete(false);
    CHECK(naive.before > 0);
    CHECK(naive.after <= 0.05 * naive.before);
    CHECK(naive.drops > 0);
    CHECK(naive.sent_again > 0);
    CHECK(ladder.before > 0);
    CHECK(ladder.after >= 0.5 * ladder.before);
}

TEST_CASE("nic: a queue that runs dry is given more memory, up to its limit, under a stream") {
    if (!has_nic()) return;
    nic_rig nic;
    nic.set("posted_limit", posted);
    nic.set_mtu(9000);
    // No rung before that one.
    reactor_options options = on_nic(256);
    options.zcrx.marks = {0, 0, 0, 0};
    options.zcrx.max_area_bytes = 4 * options.zcrx.area_bytes;
    options.copy_out_below = 0;
    options.heap_receive_size = 0;
    constexpr std::uint64_t bytes = 16 << 20;
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> { co_await outgrow(home, nic, bytes, 4); }, options, 180s);
    CHECK(outcome.queue.areas == 4);
    CHECK(outcome.queue.chunks == 4 * 256);
    CHECK(outcome.queue.areas_refused == 0);
    CHECK(outcome.queue.alloc_fail_events >= 3);
    CHECK(outcome.net.net.zc_ladder.of(rung::grow).entered == 1);
    CHECK(outcome.net.net.zero_copy_bytes == bytes);
    CHECK(outcome.queue.copied_bytes == 0);
    CHECK(nic_rig::counter("provider_bytes") >= bytes);
}

TEST_SUITE_END();
