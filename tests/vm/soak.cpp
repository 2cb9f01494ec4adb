// SPDX-License-Identifier: Apache-2.0
// Everything at random for a while, with the books of the rx queue balanced at every turn.
//   SLUICE_SOAK_SECONDS=N   how long (10)
//   SLUICE_SOAK_SEED=N      what is done; the seed of a run is printed

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::net_stats_of;
using sluice::nursery;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rx_buffer;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::zcrx_stats_of;
using sluice::testing::has_device_less_queues;
using sluice::testing::make_pair;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::run_zcrx;
using sluice::testing::small_area;
using sluice::testing::stream_pair;

namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

//! A thread on which leases die.
class graveyard {
public:
    graveyard() : thread_([this] { run(); }) {}
    ~graveyard() {
        {
            const std::lock_guard lock(mutex_);
            done_ = true;
        }
        bell_.notify_one();
        thread_.join();
    }
    void bury(rx_buffer b) {
        {
            const std::lock_guard lock(mutex_);
            dead_.push_back(std::move(b));
        }
        bell_.notify_one();
    }

private:
    void run() {
        std::unique_lock lock(mutex_);
        while (!done_ || !dead_.empty()) {
            bell_.wait(lock, [&] { return done_ || !dead_.empty(); });
            std::vector<rx_buffer> taken = std::exchange(dead_, {});
            lock.unlock();
            taken.clear();
            lock.lock();
        }
    }
    std::mutex mutex_;
    std::condition_variable bell_;
    std::vector<rx_buffer> dead_;
    bool done_ = false;
    std::thread thread_;
};

struct soak {
    explicit soak(std::uint64_t seed) : random(seed) {}
    std::uint64_t below(std::uint64_t limit) { return random() % limit; }
    bool chance(std::uint64_t percent) { return below(100) < percent; }

    std::mt19937_64 random;
    graveyard foreign;
    std::uint64_t sessions = 0;
    std::uint64_t whole = 0;  // sessions whose every byte arrived
    std::uint64_t turns = 0;  // at which the books were checked
    std::uint64_t bytes = 0;
};

task<> send_pattern(soak& s, tcp_stream& to, std::uint64_t seed, std::uint64_t total) {
    for (std::uint64_t at = 0; at < total;) {
        const std::uint64_t piece = std::min(1 + s.below(s.chance(50) ? 300 : 40'000), total - at);
        const auto bytes = pattern(seed).bytes(at, piece);
        auto sent = co_await to.send_all(std::span(bytes));
        if (!sent) co_return;
        at += piece;
    }
    static_cast<void>(co_await to.shutdown());
}

//! What a program may do with a slice it has got.
void dispose(soak& s, rx_buffer slice, std::vector<rx_buffer>& held) {
    switch (s.below(7)) {
        case 0: held.push_back(std::move(slice)); break;
        case 1: held.push_back(slice.slice(slice.size() / 3, 10)); break;
        case 2: held.push_back(slice.split(slice.size() / 2)); break;
        case 3: held.push_back(slice.copy()); break;
        case 4: s.foreign.bury(slice.share()); break;
        case 5:
            slice.retain();
            held.push_back(std::move(slice));
            break;
        default: break;
    }
    if (held.size() > s.below(40)) held.erase(held.begin(), held.begin() + held.size() / 2);
    if (s.chance(2)) held.clear();
}

task<> receive_pattern(soak& s, tcp_stream& from, std::uint64_t seed, std::uint64_t total) {
    pattern_reader reader(seed);
    std::vector<rx_buffer> held;
    std::vector<std::byte> own(5000);
    for (;;) {
        if (s.chance(10)) {
            auto got = co_await with_timeout(20s, from.recv_into(own));
            if (!got) break;
            reader.take(std::span(own).first(*got));
            continue;
        }
        const auto limit = std::chrono::milliseconds(s.chance(30) ? 0 : 20'000);
        auto chunk = co_await with_timeout(limit, from.recv());
        if (chunk) {
            reader.take(chunk->bytes());
            dispose(s, std::move(*chunk), held);
        } else if (chunk.error() != sluice::error::timeout) {
            break;
        }
        if (s.chance(5)) static_cast<void>(co_await sluice::sleep_for(1ms));
    }
    CHECK(reader.intact());
    s.bytes += reader.taken();
    if (reader.taken() == total) ++s.whole;
}

//! One connection from its beginning to an end of any kind.
task<> session(soak& s) {
    const std::uint64_t seed = s.random();
    const std::uint64_t total = 1 + s.below(300'000);
    stream_pair pair = co_await make_pair();
    ++s.sessions;
    const auto both = [&](nursery& scope) -> task<> {
        scope.spawn([&] { return send_pattern(s, pair.left, seed, total); });
        scope.spawn([&] { return receive_pattern(s, pair.right, seed, total); });
        co_return;
    };
    auto work = with_nursery(both);
    const auto limit = std::chrono::milliseconds(s.chance(25) ? s.below(50) : 60'000);
    static_cast<void>(co_await with_timeout(limit, std::move(work)));
    if (s.chance(30)) pair.left.abort();
    if (s.chance(30)) co_await pair.right.close();
}

}  // namespace

TEST_SUITE_BEGIN("vm.soak");

TEST_CASE("zcrx: a soak of everything, the books balanced at every turn") {
    if (!has_device_less_queues()) return;
    const std::uint64_t seed = from_environment("SLUICE_SOAK_SEED", std::random_device{}());
    const auto length = std::chrono::seconds(from_environment("SLUICE_SOAK_SECONDS", 10));
    CAPTURE(seed);
    reactor_options options = small_area(96);
    options.zcrx.max_area_bytes = 2 * options.zcrx.area_bytes;
    options.zcrx.copy_always_below = 512;
    options.zcrx.max_leases_per_connection = 16;
    options.zcrx.refill_entries = 16;
    options.cq_entries = 128;
    options.max_pending_bytes = 64 * 1024;
    soak s(seed);
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> {
            bool over = false;
            const auto watch = [&]() -> task<> {
                while (!over) {
                    if (const auto books = zcrx_stats_of(home); books.in_use) {
                        REQUIRE(books.balanced());
                        REQUIRE(books.tokens_held >= books.chunks_out);
                    }
                    ++s.turns;
                    co_await sluice::yield();
                }
            };
            const auto traffic = [&](nursery& scope) -> task<> {
                const auto end = std::chrono::steady_clock::now() + length;
                while (std::chrono::steady_clock::now() < end) {
                    co_await scope.spawn_when_room([&] { return session(s); });
                }
            };
            const auto all = [&](nursery& scope) -> task<> {
                scope.spawn(watch);
                sluice::nursery_options few;
                few.max_children = 12;
                static_cast<void>(co_await with_nursery(few, traffic));
                over = true;
            };
            static_cast<void>(co_await with_nursery(all));
        },
        options, length + std::chrono::seconds(60));
    MESSAGE("seed " << seed << ": " << s.sessions << " sessions (" << s.whole << " whole), "
                    << s.bytes << " bytes, of them " << outcome.net.net.zero_copy_bytes
                    << " without a copy; books checked " << s.turns << " times; ENOMEM "
                    << outcome.net.net.enobufs << ", ENOSPC " << outcome.net.net.enospc
                    << ", copied " << outcome.net.net.copied_out << ", heap "
                    << outcome.net.net.heap_receives << ", areas " << outcome.queue.areas);
    CHECK(s.whole > 0);
    CHECK(outcome.net.net.zero_copy_bytes > 0);
    CHECK(outcome.net.net.enobufs + outcome.net.net.copied_out > 0);
}

TEST_SUITE_END();
