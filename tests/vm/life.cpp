// SPDX-License-Identifier: Apache-2.0
// What becomes of a bound queue when the link, the interface or the process goes.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "vm/nic_rig.hpp"
#include "vm/nic_stream.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::reactor_options;
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

namespace {

constexpr std::uint64_t total = 2 << 20;
constexpr std::uint64_t seed = 9;

//! Receives until `reader` has `bytes`, or the stream ends or is quiet for `patience`.
task<> receive_until(wire& w, pattern_reader& reader, std::uint64_t bytes,
                     std::chrono::milliseconds patience) {
    while (reader.taken() < bytes) {
        auto chunk = co_await with_timeout(patience, w.stream.recv());
        if (!chunk) co_return;
        reader.take(chunk->bytes());
    }
}

//! A process that has the queue until it is killed. Tells its parent by a byte when it has.
[[noreturn]] void hold_queue(int ready) {
    const auto home = make_reactor(on_nic(1024));
    const auto listener = sluice::testing::listen_on(*home, 0);
    const char byte = 1;
    if (::write(ready, &byte, 1) != 1) ::_exit(1);
    for (;;) ::pause();
}

}  // namespace

TEST_SUITE_BEGIN("vm.life");

TEST_CASE("nic: the link goes down and comes back while bytes flow") {
    if (!has_nic()) return;
    nic_rig nic;
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> {
            wire w = co_await make_nic_wire(home, nic);
            peer_thread sender([&] {
                CHECK(w.peer.send(pattern(seed).bytes(0, total)));
                w.peer.shutdown_write();
            });
            pattern_reader reader(seed);
            co_await receive_until(w, reader, total / 4, 20s);
            CHECK(nic_rig::run("ip link set sw0 down"));
            CHECK(nic_rig::run("ip link set sw0 up"));
            co_await receive_until(w, reader, total, 40s);
            CHECK(reader.taken() == total);
            CHECK(reader.intact());
            co_await sender.finished();
        },
        on_nic(2048));
    CHECK(outcome.net.net.zero_copy_bytes == total);
    CHECK(outcome.queue.copied_bytes == 0);
}

TEST_CASE("nic: a queue is bound while the interface is down") {
    if (!has_nic()) return;
    nic_rig nic;
    REQUIRE(nic_rig::run("ip link set sw0 down"));
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> {
            const auto first = sluice::testing::listen_on(home, 0);
            CHECK(nic_rig::run("ip link set sw0 up"));
            wire w = co_await make_nic_wire(home, nic);
            peer_thread sender([&] { CHECK(w.peer.send(pattern(seed).bytes(0, total))); });
            pattern_reader reader(seed);
            co_await receive_until(w, reader, total, 20s);
            CHECK(reader.taken() == total);
            CHECK(reader.intact());
            co_await sender.finished();
        },
        on_nic(2048));
    CHECK(outcome.net.net.zero_copy_bytes == total);
}

TEST_CASE("nic: the interface is pulled out while bytes flow") {
    if (!has_nic()) return;
    nic_rig nic;
    run_zcrx(
        [&](reactor& home) -> task<> {
            wire w = co_await make_nic_wire(home, nic);
            peer_thread sender([&] {
                // It may not get rid of all that.
                static_cast<void>(w.peer.send(pattern(seed).bytes(0, 16 * total)));
            });
            pattern_reader reader(seed);
            co_await receive_until(w, reader, total, 20s);
            auto held = co_await with_timeout(20s, w.stream.recv());
            REQUIRE(held.has_value());
            nic.unplug();
            // What is held stays, and is right.
            CHECK(pattern(seed).matches(reader.taken(), held->bytes()));
            reader.take(held->bytes());
            co_await receive_until(w, reader, 16 * total, 2s);
            CHECK(reader.intact());
            ::shutdown(w.peer.fd(), SHUT_RDWR);
            co_await sender.finished();
        },
        on_nic(2048));
    nic.plug();
    const auto again = nic_transfer(nic, total, on_nic(2048));
    CHECK(again.net.net.zero_copy_bytes == total);
    CHECK(again.queue.copied_bytes == 0);
}

TEST_CASE("nic: a process is killed; the next one gets its queue as soon as the kernel is done") {
    if (!has_nic()) return;
    nic_rig nic;
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) hold_queue(ready[1]);
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    {
        reactor_options impatient = on_nic(1024);
        impatient.zcrx.bind_wait = 0ms;
        const auto home = make_reactor(impatient);
        const std::string why = sluice::testing::why_not_listening(*home);
        CHECK(why.find("one that is just ending") != std::string::npos);
    }
    CHECK(nic_rig::counter("provider_bound") == 1);
    CHECK(::kill(child, SIGKILL) == 0);
    CHECK(::waitpid(child, nullptr, 0) == child);
    const auto outcome = nic_transfer(nic, total, on_nic(1024));
    CHECK(outcome.net.net.zero_copy_bytes == total);
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_SUITE_END();
