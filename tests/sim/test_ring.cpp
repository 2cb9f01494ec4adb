// SPDX-License-Identifier: Apache-2.0
//! The simulated io_uring itself: set-up, submission, waiting, the completion queue.
#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <string>

#include "sim/raw_ring.hpp"

using namespace sluice::sim;
using namespace std::chrono_literals;

namespace {

int try_setup(sim_kernel& sim, unsigned entries, unsigned flags, unsigned cq_entries = 0) {
    io_uring_params params{};
    params.flags = flags;
    params.cq_entries = cq_entries;
    const int fd = sim.uring_setup(entries, params);
    if (fd >= 0) sim.close(fd);
    return fd < 0 ? fd : 0;
}

constexpr unsigned usual = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;

}  // namespace

TEST_CASE("sim ring: flags that the profile does not have are refused") {
    sim_kernel newest(1);
    sim_kernel oldest(1);
    oldest.options().kernel = kernel_6_1();
    for (const unsigned flag : {IORING_SETUP_NO_SQARRAY, IORING_SETUP_CQE_MIXED}) {
        CHECK(try_setup(newest, 4, usual | flag) == 0);
        CHECK(try_setup(oldest, 4, usual | flag) == -EINVAL);
    }
    CHECK(try_setup(oldest, 4, usual) == 0);
    CHECK(try_setup(newest, 4, IORING_SETUP_DEFER_TASKRUN) == -EINVAL);
    CHECK(try_setup(newest, 4, IORING_SETUP_TASKRUN_FLAG) == -EINVAL);
    CHECK(try_setup(newest, 4, usual | IORING_SETUP_IOPOLL) == -EINVAL);
}

TEST_CASE("sim ring: sizes") {
    sim_kernel sim(1);
    CHECK(try_setup(sim, 0, usual) == -EINVAL);
    CHECK(try_setup(sim, 40'000, usual) == -EINVAL);
    CHECK(try_setup(sim, 40'000, usual | IORING_SETUP_CLAMP) == 0);
    CHECK(try_setup(sim, 8, usual | IORING_SETUP_CQSIZE, 0) == -EINVAL);
    CHECK(try_setup(sim, 8, usual | IORING_SETUP_CQSIZE, 4) == -EINVAL);
    CHECK(try_setup(sim, 8, usual | IORING_SETUP_CQSIZE, 70'000) == -EINVAL);
    io_uring_params params{};
    params.flags = usual | IORING_SETUP_CQSIZE;
    params.cq_entries = 100;
    const int fd = sim.uring_setup(5, params);
    REQUIRE(fd >= 0);
    CHECK(params.sq_entries == 8);
    CHECK(params.cq_entries == 128);
    CHECK((params.features & IORING_FEAT_SINGLE_MMAP) != 0);
    int error = 0;
    CHECK(sim.map_ring(fd, 1 << 20, IORING_OFF_SQ_RING, error) == nullptr);
    CHECK(error == EINVAL);
    sim.close(fd);
}

TEST_CASE("sim ring: the descriptor limit holds for rings") {
    sim_kernel sim(1);
    sim.options().descriptor_limit = 3;
    CHECK(try_setup(sim, 4, usual) == -EMFILE);
}

TEST_CASE("sim ring: a wait takes virtual time, and no more than asked for") {
    sim_kernel sim(1, quiet_options());
    raw_ring r(sim);
    const auto begin = sim.time();
    CHECK(r.enter(1, 3'600'000).empty());
    CHECK(r.last() == -ETIME);
    const auto passed = sim.time() - begin;
    CHECK(passed >= 1h);
    CHECK(passed < 1h + 1ms);
}

TEST_CASE("sim ring: a wait ends with the event it waits for") {
    sim_kernel sim(1, quiet_options());
    raw_ring r(sim);
    const auto begin = sim.time();
    __kernel_timespec time{5, 0};
    io_uring_prep_timeout(&r.next(4), &time, 0, 0);
    const auto all = r.enter(1, 3'600'000);
    REQUIRE(all.size() == 1);
    CHECK(all[0].result == -ETIME);
    CHECK(sim.time() - begin >= 5s);
    CHECK(sim.time() - begin < 6s);

    io_uring_prep_timeout(&r.next(4), &time, 0, 0);
    CHECK(r.enter(1, 10).empty());
    io_uring_prep_timeout_remove(&r.next(5), 4, 0);
    CHECK(r.take(5).result == 0);
    CHECK(r.take(4).result == -ECANCELED);
    io_uring_prep_timeout_remove(&r.next(5), 4, 0);
    CHECK(r.take(5).result == -ENOENT);
}

TEST_CASE("sim ring: waiting for nothing is a deadlock") {
    sim_kernel sim(7, quiet_options());
    std::string reason;
    std::uint64_t seed = 0;
    sim.on_failure([&](std::uint64_t s, const std::string& text) {
        seed = s;
        reason = text;
    });
    raw_ring r(sim);
    const int counter = sim.wake_descriptor();
    std::uint64_t value = 0;
    io_uring_prep_read(&r.next(1), counter, &value, sizeof value, 0);
    CHECK(r.rings().enter(1, INT64_MAX, 0) == -EDEADLK);
    CHECK(seed == 7);
    CHECK(reason.find("deadlock") != std::string::npos);
    CHECK(reason.find("READ on a wake counter") != std::string::npos);
}

TEST_CASE("sim ring: a wake completes the read, and until then the task-run flag tells") {
    sim_kernel sim(1, quiet_options());
    raw_ring r(sim);
    const int counter = sim.wake_descriptor();
    std::uint64_t value = 0;
    io_uring_prep_read(&r.next(1), counter, &value, sizeof value, 0);
    CHECK(r.enter(1, 1).empty());
    CHECK(!r.rings().kernel_has_work());
    sim.wake(counter);
    sim.wake(counter);
    CHECK(r.rings().kernel_has_work());
    CHECK(r.reap().empty());  // nothing comes without an enter
    CHECK(r.take(1).result == 8);
    CHECK(value == 2);
    CHECK(!r.rings().kernel_has_work());
}

TEST_CASE("sim ring: min_wait gathers, and then one is enough") {
    sim_kernel sim(1, quiet_options());
    raw_ring r(sim);
    __kernel_timespec soon{0, 10'000};
    __kernel_timespec later{1, 0};
    const auto begin = sim.time();
    io_uring_prep_timeout(&r.next(1), &soon, 0, 0);
    io_uring_prep_timeout(&r.next(2), &later, 0, 0);
    CHECK(r.submit() == 2);
    CHECK(r.rings().enter(2, sim.now() + 10'000'000'000, 500) >= 0);
    CHECK(r.reap().size() == 1);
    CHECK(sim.time() - begin >= 500us);
    CHECK(sim.time() - begin < 1ms);
    CHECK(r.rings().enter(2, sim.now() + 10'000'000'000, 500) >=
          0);  // nothing in time: the first that comes
    CHECK(r.reap().size() == 1);
    CHECK(sim.time() - begin >= 1s);
}

TEST_CASE("sim ring: enters fail as planned and do nothing else") {
    sim_kernel sim(1, quiet_options());
    raw_ring r(sim);
    sim.faults().fail_enter(2, EBUSY);  // the first is the ring's own, when it is opened
    io_uring_prep_nop(&r.next(1));
    CHECK(r.enter().empty());
    CHECK(r.last() == -EBUSY);
    CHECK(r.rings().unsubmitted() == 1);
    CHECK(r.enter().size() == 1);
}

TEST_CASE("sim ring: a multishot request may end when the completion queue overflows, or go on") {
    for (const bool ends : {true, false}) {
        sim_options options = quiet_options();
        options.overflow_ends_rate = ends ? 1 : 0;
        sim_kernel sim(1, options);
        raw_ring r(sim, 4, 4);
        const auto pair = connect_pair(sim, r);
        raw_buffers buffers(sim, r, 1, 16, 10);
        buffers.give_all();
        r.receive_multishot(pair.server, 5, 1);
        CHECK(r.enter(1, 1).empty());
        const std::string message(60, 'x');
        io_uring_prep_send(&r.next(6), pair.client, message.data(), message.size(), MSG_NOSIGNAL);
        r.rings().enter(1, sim.now() + 1'000'000, 0);
        r.rings().enter(4, sim.now() + 1'000'000, 0);
        CHECK(r.rings().overflowed());
        int bytes = 0;
        bool more = true;
        for (int i = 0; i < 4; ++i)
            for (const completion& c : r.enter(0)) {
                if (c.user_data != 5) continue;
                CHECK(more);  // nothing after the terminal one
                CHECK(c.has_buffer());
                bytes += c.result;
                more = c.more();
            }
        CHECK(more == !ends);
        CHECK(bytes == (ends ? 40 : 60));  // three beside the send's, and the terminal one
    }
}

TEST_CASE("sim ring: cancelling everything") {
    sim_kernel sim(1, quiet_options());
    raw_ring r(sim);
    const int counter = sim.wake_descriptor();
    for (std::uint64_t i = 1; i <= 5; ++i) io_uring_prep_poll_add(&r.next(i), counter, 1);
    CHECK(r.enter(1, 1).empty());
    r.cancel(0, 9, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    CHECK(r.take(9).result == 5);
    for (std::uint64_t i = 1; i <= 5; ++i) CHECK(r.take(i).result == -ECANCELED);
    r.cancel(0, 9, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    CHECK(r.take(9).result == 0);
}

TEST_CASE("sim ring: what is still live when the ring goes is in the books") {
    sim_kernel sim(1, quiet_options());
    const int counter = sim.wake_descriptor();
    {
        raw_ring r(sim);
        io_uring_prep_poll_add(&r.next(1), counter, 1);
        CHECK(r.enter(1, 1).empty());
        CHECK(sim.books().requests == 1);
        CHECK(sim.check_clean().find("POLL_ADD") != std::string::npos);
    }
    CHECK(sim.books().requests == 0);
    CHECK(sim.books().requests_dropped == 1);
    CHECK(sim.check_clean().find("live when their ring was closed") != std::string::npos);
    CHECK(sim.check_clean().find("wake counter") != std::string::npos);
}

TEST_CASE("sim ring: the books are even when all was given back") {
    sim_kernel sim(1, quiet_options());
    {
        raw_ring r(sim);
        raw_buffers buffers(sim, r, 1, 4, 64);
        io_uring_prep_nop(&r.next(1));
        CHECK(r.enter().size() == 1);
        CHECK(!sim.check_clean().empty());
    }
    CHECK(sim.check_clean().empty());
    CHECK(sim.books().open_files == 0);
}
