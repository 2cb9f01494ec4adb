// SPDX-License-Identifier: Apache-2.0
//! The production reactor on the simulated kernel.
#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/operation.hpp"
#include "runtime/probe.hpp"
#include "runtime/reactor_io.hpp"
#include "sim/seeds.hpp"
#include "sim/sim_kernel.hpp"
#include "sluice/nursery.hpp"
#include "sluice/reactor.hpp"
#include "sluice/timeout.hpp"

using namespace sluice;
using namespace sluice::sim;
using namespace std::chrono_literals;

namespace {

std::unique_ptr<reactor> make_reactor(sim_kernel& sim, const reactor_options& options = {}) {
    auto made = reactor::create_on(sim, options);
    REQUIRE(made);
    return std::move(*made);
}

std::chrono::nanoseconds elapsed(sim_kernel& sim, std::chrono::nanoseconds since) {
    return sim.time() - since;
}

//! Counts its CQEs; can be submitted again and again.
class counted_operation final : public detail::operation {
public:
    using fill = void (*)(io_uring_sqe&, counted_operation&);

    explicit counted_operation(fill f) : operation(prepare, complete), fill_(f) {}

    int completions = 0;
    int result = 0;
    int target = -1;  // for `fill`

private:
    static void prepare(operation& op, io_uring_sqe& sqe) noexcept {
        auto& self = static_cast<counted_operation&>(op);
        self.fill_(sqe, self);
    }
    static void complete(operation& op, std::int32_t result, std::uint32_t) noexcept {
        auto& self = static_cast<counted_operation&>(op);
        ++self.completions;
        self.result = result;
    }
    fill fill_;
};

void fill_nop(io_uring_sqe& sqe, counted_operation&) { io_uring_prep_nop(&sqe); }

void fill_endless(io_uring_sqe& sqe, counted_operation& op) {
    io_uring_prep_poll_add(&sqe, op.target, 1);  // POLLIN of a counter that nobody writes
}

}  // namespace

TEST_CASE("reactor: what it finds is what the profile has") {
    sim_kernel newest(1);
    const auto on_newest = make_reactor(newest);
    for (const feature& f : on_newest->ring_features().list())
        CHECK_MESSAGE(f.in_use == (f.name != "NAPI_BUSY_POLL" && f.name != "MSG_RING"), f.name);
    // One reactor a thread: the other gets its turn when this one has gone.
}

TEST_CASE("reactor: the oldest kernel does") {
    sim_kernel oldest(1);
    oldest.options().kernel = kernel_6_1();
    const auto home = make_reactor(oldest);
    for (const char* name : {"CQE_MIXED", "NO_SQARRAY", "MIN_TIMEOUT", "NO_IOWAIT",
                             detail::feature_receive_limit, detail::feature_incremental_buffers})
        CHECK_MESSAGE(!home->ring_features().has(name), name);
    CHECK(home->ring_features().has("REGISTERED_RING"));
    home->spawn([]() -> task<> { static_cast<void>(co_await sleep_for(1ms)); });
    home->run_until_idle();
}

TEST_CASE("reactor: an hour passes at once, and to the point") {
    sim_kernel sim(1);
    const auto home = make_reactor(sim);
    const auto begin = sim.time();
    std::vector<int> order;
    const auto sleeper = [&](int n, std::chrono::nanoseconds d) -> task<> {
        CHECK(co_await sleep_for(d));
        order.push_back(n);
    };
    home->spawn(sleeper, 2, 1h);
    home->spawn(sleeper, 1, 59min);
    home->spawn(sleeper, 3, 1h + 1ms);
    home->run_until_idle();
    CHECK(order == std::vector{1, 2, 3});
    CHECK(elapsed(sim, begin) >= 1h + 1ms);
    CHECK(elapsed(sim, begin) < 1h + 2ms);
    CHECK(home->stats().enters < 50);
}

TEST_CASE("reactor: a timeout ends a sleep, and a nursery its children") {
    sim_kernel sim(1);
    const auto home = make_reactor(sim);
    const auto begin = sim.time();
    int cancelled = 0;
    home->spawn([&]() -> task<> {
        const auto r = co_await with_timeout(10s, sleep_for(1h));
        CHECK(r.error() == error::timeout);
        CHECK(elapsed(sim, begin) >= 10s);
        const auto scope = co_await with_nursery([&](nursery& n) -> task<result<void>> {
            for (int i = 0; i < 10; ++i)
                n.spawn([&]() -> task<> {
                    const auto slept = co_await sleep_for(24h);
                    if (slept.has_error()) ++cancelled;
                });
            static_cast<void>(co_await sleep_for(1s));
            co_return errno_error(EPIPE);  // ends the others
        });
        CHECK(scope.error() == errno_error(EPIPE));
    });
    home->run_until_idle();
    CHECK(cancelled == 10);
    CHECK(elapsed(sim, begin) < 12s);
}

TEST_CASE("reactor: a wake-up from outside ends a wait") {
    sim_kernel sim(1);
    const auto home = make_reactor(sim);
    const auto begin = sim.time();
    home->spawn([]() -> task<> { static_cast<void>(co_await sleep_for(1h)); });
    sim.after(5min, [&] { home->post([&] { home->request_stop(); }); });
    home->run();
    CHECK(elapsed(sim, begin) >= 5min);
    CHECK(elapsed(sim, begin) < 6min);
    CHECK(home->stats().wake_ups == 1);
}

TEST_CASE("reactor: submissions that find no room wait for their turn") {
    sim_kernel sim(1);
    reactor_options options;
    options.sq_entries = 4;
    options.cq_entries = 8;
    // Enters that fail leave the queue full.
    for (std::uint64_t n = 1; n <= 40; n += 2) sim.faults().fail_enter(n, EAGAIN);
    const auto home = make_reactor(sim, options);
    std::vector<std::unique_ptr<counted_operation>> all;
    home->spawn([&]() -> task<> {
        for (int i = 0; i < 100; ++i) {
            all.push_back(std::make_unique<counted_operation>(fill_nop));
            home->io().submit(*all.back());
        }
        // Some are cancelled while they are parked.
        for (std::size_t i = 90; i < 100; ++i) home->io().cancel(*all[i]);
        co_return;
    });
    home->run_until_idle();
    CHECK(home->stats().sq_full_parks != 0);
    int done = 0;
    for (const auto& op : all) {
        CHECK(op->completions == 1);
        if (op->result == 0) ++done;
    }
    CHECK(done >= 90);
}

TEST_CASE("reactor: the completion queue overflows and everything arrives") {
    sim_kernel sim(1);
    reactor_options options;
    options.sq_entries = 4;
    options.cq_entries = 4;
    const auto home = make_reactor(sim, options);
    std::vector<std::unique_ptr<counted_operation>> all;
    home->spawn([&]() -> task<> {
        for (int round = 0; round < 5; ++round) {
            for (int i = 0; i < 50; ++i) {
                all.push_back(std::make_unique<counted_operation>(fill_nop));
                home->io().submit(*all.back());
            }
            static_cast<void>(co_await sleep_for(1ms));
        }
    });
    home->run_until_idle();
    CHECK(home->stats().cq_overflows != 0);
    CHECK(sim.books().overflows != 0);
    for (const auto& op : all) CHECK(op->completions == 1);
}

TEST_CASE("reactor: everything that is live ends when it is cancelled") {
    sim_kernel sim(1);
    const auto home = make_reactor(sim);
    const int counter = sim.wake_descriptor();
    std::vector<std::unique_ptr<counted_operation>> all;
    home->spawn([&]() -> task<> {
        for (int i = 0; i < 20; ++i) {
            all.push_back(std::make_unique<counted_operation>(fill_endless));
            all.back()->target = counter;
            home->io().submit(*all.back());
        }
        static_cast<void>(co_await sleep_for(1s));
        home->io().cancel(*all[3]);
        static_cast<void>(co_await sleep_for(1s));
        CHECK(all[3]->completions == 1);
        CHECK(all[3]->result == -ECANCELED);
        CHECK(all[4]->completions == 0);
        home->io().cancel_everything();
    });
    home->run_until_idle();
    for (const auto& op : all) CHECK(op->completions == 1);
    sim.close(counter);
}

TEST_CASE("reactor: min_wait gathers completions") {
    sim_kernel sim(1);
    reactor_options options;
    options.min_wait = 100us;
    options.min_wait_completions = 8;
    const auto home = make_reactor(sim, options);
    const int counter = sim.wake_descriptor();
    counted_operation one(fill_endless);
    one.target = counter;
    const auto begin = sim.time();
    home->spawn([&]() -> task<> {
        home->io().submit(one);
        co_return;
    });
    sim.after(10us, [&] { sim.wake(counter); });
    home->run_until_idle();
    CHECK(one.completions == 1);
    CHECK(elapsed(sim, begin) >= 100us);  // it came after 10, and no others did
    CHECK(elapsed(sim, begin) < 200us);
    sim.close(counter);
}

TEST_CASE("reactor: leaves nothing behind, on either kernel, with enters that fail") {
    const auto failed = for_each_seed(1, 50, [](sim_kernel& sim) {
        if (sim.seed() % 2 == 0) sim.options().kernel = kernel_6_1();
        sim.faults().set_enter_rate(0.2);
        {
            auto home = reactor::create_on(sim, {});
            sim.expect(home.has_value(), "no reactor");
            (*home)->spawn([]() -> task<> { static_cast<void>(co_await sleep_for(3s)); });
            (*home)->run_until_idle();
            sim.expect((*home)->stats().live_operations == 0, "live operations");
            sim.expect((*home)->stats().live_frames == 0, "live frames");
        }
        const std::string left = sim.check_clean();
        sim.expect(left.empty(), left);
        sim.expect(sim.books().open_files == 0, "files are open");
    });
    CHECK(failed == 0);
}
