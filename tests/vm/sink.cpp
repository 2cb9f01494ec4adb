// SPDX-License-Identifier: Apache-2.0
// From the area to the disk: what can go without a copy goes without, and every byte arrives.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "loopback/temporary_folder.hpp"
#include "sluice/file_writer.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::file;
using sluice::file_options;
using sluice::file_writer;
using sluice::file_writer_counts;
using sluice::nursery;
using sluice::reactor;
using sluice::reactor_options;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::testing::has_device_less_queues;
using sluice::testing::make_wire;
using sluice::testing::pattern;
using sluice::testing::peer_thread;
using sluice::testing::run_zcrx;
using sluice::testing::small_area;
using sluice::testing::temporary_folder;
using sluice::testing::wire;

namespace {

//! What a sender decides: how much it gives the kernel at a time, and how long its segments are.
struct shape {
    const char* name;
    std::size_t record;
    int segment = 0;  // TCP_MAXSEG; 0: the kernel's choice
};

//! In how large pieces the bytes arrive is decided here and not by the receiver.
void send_shaped(wire& w, const shape& how, std::uint64_t seed, std::size_t total) {
    w.peer.set_option(IPPROTO_TCP, TCP_NODELAY, 1);
    const auto bytes = pattern(seed).bytes(0, total);
    for (std::size_t at = 0; at < total; at += how.record)
        if (!w.peer.send(std::span(bytes).subspan(at, std::min(how.record, total - at)))) return;
    w.peer.shutdown_write();
}

task<wire> make_shaped_wire(const shape& how) {
    sluice::testing::plain_listener listener(sluice::testing::loopback());
    // For those that it accepts; later is too late.
    if (how.segment != 0)
        CHECK(setsockopt(listener.fd(), IPPROTO_TCP, TCP_MAXSEG, &how.segment,
                         sizeof how.segment) == 0);
    auto stream = co_await sluice::tcp_stream::connect(listener.local());
    co_return wire{std::move(stream).value(), listener.accept()};
}

//! Up to the end of the stream.
task<> receive_to(wire& w, file_writer& writer) {
    for (;;) {
        auto chunk = co_await with_timeout(20s, w.stream.recv());
        if (!chunk) {
            CHECK(chunk.error() == sluice::error::eof);
            co_return;
        }
        auto taken = co_await writer.write(std::move(*chunk));
        CHECK(taken.has_value());
        if (!taken) co_return;
    }
}

task<file_writer_counts> store(wire& w, const std::string& name, bool direct) {
    file_options how;
    how.direct = direct;
    auto f = co_await file::open(name, how);
    REQUIRE(f.has_value());
    file_writer_counts counts;
    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
        file_writer writer(scope, *f);
        co_await receive_to(w, writer);
        CHECK((co_await writer.finish()).has_value());
        counts = writer.counts();
        CHECK(writer.written() == counts.bytes);
    }));
    CHECK((co_await f->sync()).has_value());
    co_return counts;
}

//! Whether the file begins with so many bytes of the pattern.
bool begins_with(const std::string& name, std::uint64_t seed, std::size_t size) {
    std::ifstream from(name, std::ios::binary);
    std::string content(size, 0);
    from.read(content.data(), static_cast<std::streamsize>(size));
    return static_cast<std::size_t>(from.gcount()) == size &&
           pattern(seed).matches(0, std::as_bytes(std::span(content.data(), size)));
}

//! $SLUICE_TEST_DISK, which is overwritten, or a file.
std::string target(const temporary_folder& folder) {
    const char* disk = std::getenv("SLUICE_TEST_DISK");
    return disk != nullptr ? disk : folder / "f";
}

file_writer_counts run_shape(const shape& how, const std::string& to, std::size_t total) {
    file_writer_counts counts;
    reactor_options options = small_area(4096);
    run_zcrx(
        [&](reactor& home) -> task<> {
            wire w = co_await make_shaped_wire(how);
            peer_thread sender([&] { send_shaped(w, how, how.record, total); });
            counts = co_await store(w, to, true);
            co_await sender.finished();
            const auto net = sluice::net_stats_of(home);
            CHECK(net.zero_copy_bytes == total);
            // The area is a fixed buffer of the ring since a write was made of nothing else.
            if (counts.staged < total / 8) CHECK(net.fixed_regions == 1);
            CHECK(net.fixed_refused == 0);
        },
        options);
    CHECK(counts.bytes == total);
    CHECK(begins_with(to, how.record, total));
    const auto share = [](std::uint64_t part, std::uint64_t whole) {
        return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
    };
    std::printf("%s: staged %.1f %%; slices %llu of %llu bytes, aligned address %.0f %%, length "
                "%.0f %%, offset %.0f %%\n",
                how.name, share(counts.staged, counts.bytes),
                static_cast<unsigned long long>(counts.slices),
                static_cast<unsigned long long>(counts.bytes / counts.slices),
                share(counts.aligned_address, counts.slices),
                share(counts.aligned_length, counts.slices),
                share(counts.aligned_offset, counts.slices));
    return counts;
}

}  // namespace

TEST_SUITE_BEGIN("vm.sink");

TEST_CASE("zcrx: what the sender shapes in blocks is not staged") {
    if (!has_device_less_queues()) return;
    const char* to = std::getenv("SLUICE_TEST_DISK");
    if (to == nullptr) {
        // Where addresses have to be multiples of a block too, one odd length spoils the rest.
        sluice::testing::report_skip("no disk that takes other addresses: SLUICE_TEST_DISK");
        return;
    }
    constexpr std::size_t total = std::size_t{8} << 20;
    // Segments of 4096 bytes of payload, with 12 of TCP options.
    const auto odd = run_shape({"records of 1001 bytes", 1001}, to, total);
    const auto larger = run_shape({"records of 10001 bytes", 10001}, to, total);
    const auto blocks = run_shape({"records of 4096 bytes", 4096}, to, total);
    const auto segments =
        run_shape({"records of 64 KiB, segments of 4096", 65536, 4096 + 12}, to, total);
    CHECK(odd.staged > total / 2);
    // Full segments of loopback have 65483 bytes: they cut records when many wait to be sent.
    CHECK(blocks.staged < odd.staged);
    CHECK(segments.staged < larger.staged);
    CHECK(segments.staged < odd.staged / 2);
}

TEST_CASE("zcrx: an odd length on a disk, with zeros behind") {
    if (!has_device_less_queues()) return;
    const temporary_folder folder;
    run_shape({"records of 4096 bytes and a rest", 4096}, target(folder), (1 << 20) + 123);
}

TEST_CASE("zcrx: many streams, each into its file") {
    if (!has_device_less_queues()) return;
    const temporary_folder folder;
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (const std::size_t count : {64UL, 1000UL}) {
        if (files.rlim_cur < 3 * count + 100) {
            sluice::testing::report_skip("not enough descriptors for 1000 streams");
            return;
        }
        const auto size_of = [](std::size_t i) { return std::size_t{20'000} + 7 * i; };
        auto options = small_area(8192);
        options.zcrx.max_leases_per_connection = 8;
        run_zcrx(
            [&]() -> task<> {
                std::vector<std::unique_ptr<wire>> wires;
                for (std::size_t i = 0; i < count; ++i)
                    wires.push_back(std::make_unique<wire>(co_await make_wire()));
                peer_thread sender([&] {
                    for (std::size_t i = 0; i < count; ++i)
                        send_shaped(*wires[i], {"", 1 + i * 13}, i, size_of(i));
                });
                static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
                    for (std::size_t i = 0; i < count; ++i)
                        scope.spawn(
                            [&](std::size_t n) -> task<> {
                                auto counts = co_await store(*wires[n], folder / std::to_string(n),
                                                             n % 2 == 0);
                                CHECK(counts.bytes == size_of(n));
                            },
                            i);
                    co_return;
                }));
                co_await sender.finished();
            },
            options);
        for (std::size_t i = 0; i < count; ++i) {
            INFO("stream " << i);
            CHECK(begins_with(folder / std::to_string(i), i, size_of(i)));
            CHECK(std::filesystem::file_size(folder / std::to_string(i)) == size_of(i));
        }
    }
}

TEST_CASE("zcrx: a full disk gives all leases back") {
    if (!has_device_less_queues()) return;
    run_zcrx(
        []() -> task<> {
            wire w = co_await make_wire();
            peer_thread sender([&] { send_shaped(w, {"", 4096}, 1, 1 << 20); });
            auto f = co_await file::open("/dev/full");
            static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
                file_writer writer(scope, *f);
                boost::system::error_code ended;
                while (!ended) {
                    auto chunk = co_await with_timeout(20s, w.stream.recv());
                    if (!chunk) {
                        ended = chunk.error();
                        break;
                    }
                    auto taken = co_await writer.write(std::move(*chunk));
                    if (!taken) ended = taken.error();
                }
                auto finished = co_await writer.finish();
                CHECK(finished.error() == sluice::errno_error(ENOSPC));
                CHECK(writer.written() == 0);
            }));
            w.stream.abort();
            co_await sender.finished();
        },
        small_area(1024));
}

TEST_SUITE_END();
