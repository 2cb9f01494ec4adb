// SPDX-License-Identifier: Apache-2.0
// A NIC and a cable that misbehave: frames that are lost, late, doubled, out of order or left
// whole, and queues that run out of buffers or do not start. Not a byte may be lost for that.

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "sluice/nic_state.hpp"
#include "vm/nic_rig.hpp"
#include "vm/nic_stream.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::reactor_options;
using sluice::rx_buffer;
using sluice::task;
using sluice::with_timeout;
using sluice::testing::has_nic;
using sluice::testing::make_nic_wire;
using sluice::testing::make_reactor;
using sluice::testing::nic_rig;
using sluice::testing::nic_transfer;
using sluice::testing::on_nic;
using sluice::testing::pattern;
using sluice::testing::pattern_reader;
using sluice::testing::peer_thread;
using sluice::testing::run_zcrx;
using sluice::testing::wire;
using sluice::testing::zcrx_outcome;

namespace {

constexpr std::uint64_t total = 2 << 20;

//! A transfer with one fault; every byte still comes, and none by a copy.
void survives(nic_rig& nic, const std::string& fault, unsigned value, const std::string& counted) {
    nic.set(fault, value);
    const zcrx_outcome outcome = nic_transfer(nic, total, on_nic(2048));
    CHECK(outcome.net.net.zero_copy_bytes == total);
    CHECK(outcome.queue.copied_bytes == 0);
    CHECK(nic_rig::counter(counted) > 0);
}

//! Keeps slices until the NIC had to drop frames for want of buffers; then takes the rest.
task<> starve_then_go_on(reactor& home, nic_rig& nic, std::uint64_t bytes) {
    wire w = co_await make_nic_wire(home, nic);
    peer_thread sender([&] {
        CHECK(w.peer.send(pattern(8).bytes(0, bytes)));
        w.peer.shutdown_write();
    });
    pattern_reader reader(8);
    std::vector<rx_buffer> held;
    while (nic_rig::counter("alloc_fail") == 0) {
        auto chunk = co_await with_timeout(1s, w.stream.recv());
        if (!chunk) {
            REQUIRE(chunk.error() == sluice::error::timeout);
            continue;
        }
        reader.take(chunk->bytes());
        held.push_back(std::move(*chunk));
    }
    held.clear();
    for (;;) {
        auto chunk = co_await with_timeout(40s, w.stream.recv());
        if (!chunk) {
            CHECK(chunk.error() == sluice::error::eof);
            break;
        }
        reader.take(chunk->bytes());
    }
    CHECK(reader.intact());
    CHECK(reader.taken() == bytes);
    co_await sender.finished();
}

//! Whether the kernel's statistics of queues (netlink netdev, qstats) say what the driver's own do.
bool statistics_agree() {
    const auto state = sluice::inspect_nic("sw0");
    REQUIRE(state.has_value());
    const auto all = [&](const std::string& name, auto of_queue) {
        const auto counted = nic_rig::counters(name);
        return state->queues.size() == counted.size() &&
               std::all_of(state->queues.begin(), state->queues.end(),
                           [&](const auto& q) { return of_queue(q.counters) == counted[q.id]; });
    };
    // Nothing else is dropped here.
    return all("packets", [](const auto& c) { return c.packets; }) &&
           all("bytes", [](const auto& c) { return c.bytes; }) &&
           all("alloc_fail", [](const auto& c) { return c.alloc_failures; }) &&
           all("alloc_fail", [](const auto& c) { return c.hardware_drops; });
}

}  // namespace

TEST_SUITE_BEGIN("vm.faults");

TEST_CASE("nic: frames are lost") {
    if (!has_nic()) return;
    nic_rig nic;
    survives(nic, "drop_every", 40, "fault_drops");
}

TEST_CASE("nic: frames come twice") {
    if (!has_nic()) return;
    nic_rig nic;
    survives(nic, "duplicate_every", 5, "duplicated");
}

TEST_CASE("nic: frames overtake each other") {
    if (!has_nic()) return;
    nic_rig nic;
    survives(nic, "swap_every", 7, "swapped");
}

TEST_CASE("nic: frames are late") {
    if (!has_nic()) return;
    nic_rig nic;
    const auto begin = std::chrono::steady_clock::now();
    survives(nic, "delay_us", 5000, "packets");
    // SYN and SYN-ACK alone.
    CHECK(std::chrono::steady_clock::now() - begin >= 10ms);
}

TEST_CASE("nic: frames whose payload was left with the headers are copied, and counted") {
    if (!has_nic()) return;
    nic_rig nic;
    nic.set("unsplit_every", 6);
    const zcrx_outcome outcome = nic_transfer(nic, total, on_nic(2048));
    CHECK(outcome.net.net.bytes_in == total);
    CHECK(nic_rig::counter("unsplit") > 0);
    CHECK(nic_rig::counter("provider_bytes") < total);
    CHECK(nic_rig::counter("split") > nic_rig::counter("unsplit"));
}

TEST_CASE("nic: a ring of eight buffers") {
    if (!has_nic()) return;
    nic_rig nic;
    nic.set("posted_limit", 8);
    nic.set("pack", 0);
    const zcrx_outcome outcome = nic_transfer(nic, total, on_nic(2048));
    CHECK(outcome.net.net.zero_copy_bytes == total);
    CHECK(outcome.queue.copied_bytes == 0);
    CHECK(nic_rig::counter("posted") <= 8);
}

TEST_CASE("nic: a queue that does not start is no queue, and works when asked again") {
    if (!has_nic()) return;
    nic_rig nic;
    for (const unsigned refusal : {1U, 2U}) {
        CAPTURE(refusal);
        nic.set("refuse_restart", refusal);
        const auto home = make_reactor(on_nic(1024));
        CHECK(!sluice::testing::why_not_listening(*home).empty());
        CHECK(nic_rig::counter("provider_bound") == 0);
    }
    nic.set("refuse_restart", 0);
    const zcrx_outcome outcome = nic_transfer(nic, total, on_nic(1024));
    CHECK(outcome.net.net.zero_copy_bytes == total);
}

TEST_CASE("nic: a program that keeps everything runs the NIC dry, which counts it") {
    if (!has_nic()) return;
    nic_rig nic;
    nic.set("posted_limit", 64);
    // No rung of the ladder copies.
    reactor_options options = on_nic(512);
    options.zcrx.marks = {0, 0, 0, 0};
    options.copy_out_below = 0;
    options.heap_receive_size = 0;
    const zcrx_outcome outcome = run_zcrx(
        [&](reactor& home) -> task<> { co_await starve_then_go_on(home, nic, 3 << 20); }, options);
    CHECK(outcome.net.net.zero_copy_bytes == 3 << 20);
    CHECK(outcome.queue.copied_bytes == 0);
    CHECK(nic_rig::output_of("cat /sys/class/net/sw0/statistics/rx_missed_errors") != "0\n");
    // A stray frame may come between the two.
    CHECK(sluice::testing::soon(statistics_agree));
    const auto state = sluice::inspect_nic("sw0");
    REQUIRE(state.has_value());
    CHECK(state->queues.at(nic_rig::queue).counters.alloc_failures > 0U);
    CHECK(state->queues.at(0).counters.alloc_failures == 0U);
}

TEST_SUITE_END();
