// SPDX-License-Identifier: Apache-2.0
//! Provided-buffer rings and multishot receives of the simulated kernel.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "sim/raw_ring.hpp"

using namespace sluice::sim;

namespace {

//! A kernel, a ring, a connection, and what the kernel complained of.
struct receiving {
    explicit receiving(const sim_options& options = quiet_options()) : sim(1, options) {
        sim.on_failure([this](std::uint64_t, const std::string& text) { complaint = text; });
    }

    std::vector<completion> send(const std::string& text) {
        io_uring_prep_send(&r.next(77), pair.client, text.data(), text.size(), MSG_NOSIGNAL);
        CHECK(r.take(77).result == static_cast<int>(text.size()));
        auto all = r.enter(100, 5);  // more than will come: until the time is over
        return all;
    }

    std::string complaint;
    sim_kernel sim;
    raw_ring r{sim};
    connected_pair pair{connect_pair(sim, r)};
};

}  // namespace

TEST_CASE("sim buffers: whole buffers take one receive each") {
    receiving w;
    raw_buffers buffers(w.sim, w.r, 1, 8, 100);
    buffers.give_all();
    w.r.receive_multishot(w.pair.server, 5, 1);
    const auto all = w.send(std::string(150, 'a') + std::string(100, 'b'));
    REQUIRE(all.size() == 3);
    CHECK(all[0].result == 100);
    CHECK(all[1].result == 100);
    CHECK(all[2].result == 50);
    for (unsigned i = 0; i < 3; ++i) {
        CHECK(all[i].more());
        CHECK(all[i].buffer() == i);
        CHECK(!all[i].buffer_goes_on());
    }
    CHECK((all[0].flags & IORING_CQE_F_SOCK_NONEMPTY) != 0);
    CHECK((all[2].flags & IORING_CQE_F_SOCK_NONEMPTY) == 0);
    CHECK(buffers.text(all[1]) == std::string(50, 'a') + std::string(50, 'b'));
    CHECK(w.sim.lent_buffers() == 3);
    buffers.give(1);
    CHECK(w.sim.lent_buffers() == 2);
    CHECK(w.complaint.empty());
}

TEST_CASE("sim buffers: incremental buffers are used up piece by piece") {
    receiving w;
    raw_buffers buffers(w.sim, w.r, 1, 8, 1000, IOU_PBUF_RING_INC);
    buffers.give(3);
    buffers.give(4);
    w.r.receive_multishot(w.pair.server, 5, 1);
    auto all = w.send(std::string(600, 'a'));
    REQUIRE(all.size() == 1);
    CHECK(all[0].buffer() == 3);
    CHECK(all[0].buffer_goes_on());
    all = w.send(std::string(400, 'b') + std::string(200, 'c'));
    REQUIRE(all.size() == 2);
    CHECK(all[0].result == 400);
    CHECK(all[0].buffer() == 3);
    CHECK(!all[0].buffer_goes_on());
    CHECK(buffers.text(all[0], 600) == std::string(400, 'b'));
    CHECK(all[1].buffer() == 4);
    CHECK(all[1].buffer_goes_on());
    CHECK(w.sim.lent_buffers() == 1);
    CHECK(w.complaint.empty());
}

TEST_CASE("sim buffers: the limits of a multishot receive") {
    receiving w;
    raw_buffers buffers(w.sim, w.r, 1, 8, 100);
    buffers.give_all();
    // The limit is looked at after each receive, so it may be passed by a part of a buffer.
    w.r.receive_multishot(w.pair.server, 5, 1, 0, 150);
    auto all = w.send(std::string(250, 'a'));
    REQUIRE(all.size() == 2);
    CHECK(all[0].more());
    CHECK(all[1].result == 100);
    CHECK(!all[1].more());
    CHECK(all[1].has_buffer());
    w.r.receive_multishot(w.pair.server, 5, 1, 30, 50);
    all = w.r.enter(100, 5);
    REQUIRE(all.size() == 2);
    CHECK(all[0].result == 30);
    CHECK(all[1].result == 20);
    CHECK(!all[1].more());
}

TEST_CASE("sim buffers: an old kernel knows neither limits nor flags") {
    receiving w(quiet_options(kernel_6_1()));
    raw_buffers buffers(w.sim, w.r, 1, 8, 100);
    buffers.give_all();
    w.r.receive_multishot(w.pair.server, 5, 1, 0, 150);
    CHECK(w.r.take(5).result == -EINVAL);
    w.r.receive_multishot(w.pair.server, 5, 1, 100, 0);
    CHECK(w.r.take(5).result == -EINVAL);
    w.r.receive_multishot(-1, 5, 1, 0, 150);  // looked at before the descriptor
    CHECK(w.r.take(5).result == -EINVAL);
    io_uring_buf_reg registration{};
    registration.ring_entries = 8;
    registration.bgid = 9;
    for (const unsigned flags : {IOU_PBUF_RING_MMAP, IOU_PBUF_RING_INC}) {
        registration.flags = static_cast<std::uint16_t>(flags);
        CHECK(w.r.rings().register_call(IORING_REGISTER_PBUF_RING, &registration, 1) == -EINVAL);
    }
}

TEST_CASE("sim buffers: registration") {
    receiving w;
    auto& rings = w.r.rings();
    io_uring_buf_reg registration{};
    registration.ring_entries = 8;
    registration.bgid = 9;
    registration.flags = IOU_PBUF_RING_MMAP;
    CHECK(rings.register_call(IORING_REGISTER_PBUF_RING, &registration, 1) == 0);
    CHECK(rings.register_call(IORING_REGISTER_PBUF_RING, &registration, 1) == -EEXIST);
    int error = 0;
    const std::uint64_t offset = IORING_OFF_PBUF_RING | (9ULL << IORING_OFF_PBUF_SHIFT);
    auto* shared = static_cast<io_uring_buf_ring*>(
        w.sim.map_ring(rings.descriptor(), 8 * sizeof(io_uring_buf), offset, error));
    REQUIRE(shared != nullptr);
    std::array<char, 100> memory{};
    shared->bufs[0].addr = reinterpret_cast<std::uint64_t>(memory.data());
    shared->bufs[0].len = memory.size();
    shared->bufs[0].bid = 5;
    __atomic_store_n(&shared->tail, std::uint16_t{1}, __ATOMIC_RELEASE);
    w.r.receive_multishot(w.pair.server, 5, 9);
    CHECK(w.send("kernel's memory").size() >= 1);
    CHECK(std::string(memory.data(), 15) == "kernel's memory");
    w.sim.unmap(shared, 8 * sizeof(io_uring_buf));
    CHECK(rings.register_call(IORING_UNREGISTER_PBUF_RING, &registration, 1) == 0);
    CHECK(rings.register_call(IORING_UNREGISTER_PBUF_RING, &registration, 1) == -ENOENT);
    registration.flags = 0;
    CHECK(rings.register_call(IORING_REGISTER_PBUF_RING, &registration, 1) == -EFAULT);
    registration.ring_addr = 4096;
    registration.ring_entries = 7;
    CHECK(rings.register_call(IORING_REGISTER_PBUF_RING, &registration, 1) == -EINVAL);
    registration.ring_entries = 65536;
    CHECK(rings.register_call(IORING_REGISTER_PBUF_RING, &registration, 1) == -EINVAL);
}

TEST_CASE("sim buffers: what is given back is overwritten") {
    receiving w;
    raw_buffers buffers(w.sim, w.r, 1, 4, 64);
    buffers.give(0);
    w.r.receive_multishot(w.pair.server, 5, 1);
    const auto all = w.send("secret");
    REQUIRE(all.size() == 1);
    CHECK(buffers.text(all[0]) == "secret");
    buffers.give(0);
    w.r.enter(0);
    CHECK(buffers.text(all[0]) != "secret");
}

TEST_CASE("sim buffers: a double return is noticed") {
    receiving w;
    raw_buffers buffers(w.sim, w.r, 1, 4, 64);
    buffers.give(2);
    w.r.enter(0);
    CHECK(w.complaint.empty());
    buffers.give(2);
    w.r.enter(0);
    CHECK(w.complaint.find("buffer 2: given back, but the kernel has it") != std::string::npos);
}

TEST_CASE("sim buffers: a partly used incremental buffer is the kernel's") {
    receiving w;
    raw_buffers buffers(w.sim, w.r, 1, 4, 64, IOU_PBUF_RING_INC);
    buffers.give(2);
    w.r.receive_multishot(w.pair.server, 5, 1);
    CHECK(w.send("a part").size() == 1);
    buffers.give(2);
    w.r.enter(0);
    CHECK(w.complaint.find("given back, but the kernel has it") != std::string::npos);
}

TEST_CASE("sim buffers: more entries than the ring has are noticed") {
    receiving w;
    raw_buffers buffers(w.sim, w.r, 1, 2, 64);
    buffers.give(0);
    buffers.give(1);
    buffers.give(0);
    w.r.enter(0);
    CHECK(w.complaint.find("further from the head") != std::string::npos);
}
