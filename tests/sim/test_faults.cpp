// SPDX-License-Identifier: Apache-2.0
//! Faults of the simulated kernel, each on its own.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>

#include "sim/raw_ring.hpp"

using namespace sluice::sim;
using namespace std::chrono_literals;

namespace {

struct faulty {
    sim_kernel sim{1, quiet_options()};
    raw_ring r{sim};
    connected_pair pair{connect_pair(sim, r)};
    std::array<char, 64> buffer{};

    int receive() {
        io_uring_prep_recv(&r.next(5), pair.server, buffer.data(), buffer.size(), 0);
        return r.take(5).result;
    }
    int send(const std::string& text, int flags = 0) {
        io_uring_prep_send(&r.next(6), pair.client, text.data(), text.size(), MSG_NOSIGNAL | flags);
        return r.take(6).result;
    }
};

}  // namespace

TEST_CASE("sim faults: a receive ends for want of buffers, or of memory, and loses nothing") {
    for (const fault_kind kind : {fault_kind::no_buffers, fault_kind::no_memory}) {
        faulty w;
        raw_buffers buffers(w.sim, w.r, 1, 4, 64);
        buffers.give_all();
        w.sim.faults().fail_operation(IORING_OP_RECV, 1, {kind});
        w.r.receive_multishot(w.pair.server, 5, 1);
        w.send("hello");
        const completion ended = w.r.take(5);
        CHECK(ended.result == (kind == fault_kind::no_buffers ? -ENOBUFS : -ENOMEM));
        CHECK(!ended.more());
        CHECK(!ended.has_buffer());
        CHECK(w.sim.lent_buffers() == 0);
        CHECK(w.sim.faults().happened(kind) == 1);
        w.r.receive_multishot(w.pair.server, 5, 1);
        CHECK(w.r.take(5).result == 5);
    }
}

TEST_CASE("sim faults: short transfers") {
    faulty w;
    w.sim.faults().fail_operation(IORING_OP_SEND, 1, {fault_kind::short_transfer});
    const int sent = w.send(std::string(1000, 'x'));
    CHECK(sent > 0);
    CHECK(sent <= 8);
    w.sim.faults().fail_operation(IORING_OP_SEND, 2, {fault_kind::short_transfer});
    CHECK(w.send(std::string(1000, 'x'), MSG_WAITALL) == 1000);  // goes on by itself
    w.sim.faults().fail_operation(IORING_OP_RECV, 1, {fault_kind::short_transfer});
    CHECK(w.receive() <= 8);
}

TEST_CASE("sim faults: late completions") {
    for (int i = 0; i < 8; ++i) {  // tried later, or done and told later
        faulty w;
        w.sim.random() = random_source(static_cast<std::uint64_t>(i));
        w.send("hello");
        w.r.enter(1, 1);
        w.sim.faults().fail_operation(IORING_OP_RECV, 1, {fault_kind::late, 3'000'000'000});
        const auto begin = w.sim.time();
        io_uring_prep_recv(&w.r.next(5), w.pair.server, w.buffer.data(), w.buffer.size(), 0);
        for (int j = 0; j < 20 && w.r.reap().empty(); ++j) {
            const auto all = w.r.enter(1, 1000);
            if (all.empty()) continue;
            CHECK(all[0].result == 5);
            break;
        }
        CHECK(w.sim.time() - begin >= 3s);
        CHECK(w.sim.time() - begin < 4s);
    }
}

TEST_CASE("sim faults: a request that is executing can't be cancelled and ends as it would have") {
    sim_options options = quiet_options();
    options.hold_rate = 1;
    sim_kernel sim(3, options);
    raw_ring r(sim);
    const auto pair = connect_pair(sim, r);
    io_uring_prep_send(&r.next(6), pair.client, "hello", 5, MSG_NOSIGNAL);
    CHECK(r.submit() == 1);
    r.cancel(6, 9);
    CHECK(r.take(9).result == -EALREADY);
    CHECK(r.take(6).result == 5);
}

TEST_CASE("sim faults: a request that ends by itself") {
    faulty w;
    w.send("hello");
    w.sim.faults().fail_operation(IORING_OP_RECV, 1, {fault_kind::cancelled});
    CHECK(w.receive() == -ECANCELED);
    CHECK(w.receive() == 5);
}

TEST_CASE("sim faults: the network resets a connection") {
    faulty w;
    w.sim.faults().fail_operation(IORING_OP_SEND, 1, {fault_kind::reset});
    CHECK(w.send("hello") == -ECONNRESET);
    CHECK(w.receive() == -ECONNRESET);
    CHECK(w.receive() == 0);
}

TEST_CASE("sim faults: no descriptor for a connection, which stays in the queue") {
    sim_kernel sim(1, quiet_options());
    raw_ring r(sim);
    std::uint16_t port = 0;
    const int listening = listening_socket(sim, port);
    sim.faults().fail_operation(IORING_OP_ACCEPT, 1, {fault_kind::no_descriptors});
    const auto client = sim.connect_peer(port);
    io_uring_prep_multishot_accept(&r.next(5), listening, nullptr, nullptr, 0);
    const completion refused = r.take(5);
    CHECK(refused.result == -EMFILE);
    CHECK(!refused.more());
    io_uring_prep_multishot_accept(&r.next(5), listening, nullptr, nullptr, 0);
    CHECK(r.take(5).result >= 0);
}

TEST_CASE("sim faults: the n-th CQE, and the next one that a fault fits") {
    faulty w;
    const std::uint64_t so_far = w.sim.books().cqes;
    w.sim.faults().fail_at(so_far + 2, {fault_kind::cancelled});
    CHECK(w.send("a") == 1);  // the first
    io_uring_prep_nop(&w.r.next(7));
    CHECK(w.r.take(7).result == 0);  // the second: it can't happen to a NOP
    CHECK(w.send("b") == -ECANCELED);
    CHECK(w.send("c") == 1);
}

TEST_CASE("sim faults: by chance, and none without a rate") {
    for (const double rate : {0.0, 0.5}) {
        faulty w;
        w.sim.faults().set_rate(rate);
        w.sim.faults().allow(fault_kind::reset, false);
        for (int i = 0; i < 100; ++i) w.send("x");
        std::uint64_t happened = 0;
        for (std::size_t i = 0; i < fault_kinds; ++i)
            happened += w.sim.faults().happened(static_cast<fault_kind>(i));
        CHECK((happened != 0) == (rate != 0));
        CHECK(w.sim.faults().happened(fault_kind::reset) == 0);
    }
}
