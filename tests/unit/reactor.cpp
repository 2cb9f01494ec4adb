// SPDX-License-Identifier: Apache-2.0
#include "sluice/reactor.hpp"

#include <atomic>
#include <cerrno>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;
using sluice::testing::census;
using sluice::testing::check_books;
using sluice::testing::counted;
using sluice::testing::make_reactor;

TEST_CASE("reactor: one a thread, and the next when it is gone") {
    CHECK(reactor::current() == nullptr);
    for (int round = 0; round < 3; ++round) {
        const auto first = make_reactor({}, 5);
        CHECK(reactor::current() == first.get());
        CHECK(first->index() == 5);
        const auto second = reactor::create();
        REQUIRE(second.has_error());
        CHECK(second.error() == boost::system::errc::file_exists);
        CHECK(sluice::explain_ring_error(second.error()).find("thread") != std::string::npos);
        CHECK(reactor::current() == first.get());  // the failure has changed nothing
        std::thread([&first] {
            CHECK(reactor::current() == nullptr);
            const auto elsewhere = make_reactor();
            CHECK(elsewhere.get() != first.get());
            CHECK(reactor::current() == elsewhere.get());
        }).join();
    }
    CHECK(reactor::current() == nullptr);
    CHECK(sluice::detail::frame_pool::current == nullptr);
}

TEST_CASE("reactor: run_until_idle returns at once without work, and can be called again") {
    const auto home = make_reactor();
    home->run_until_idle();
    int ran = 0;
    for (int round = 1; round <= 5; ++round) {
        home->spawn(
            [&ran](int yields) -> task<> {
                for (int i = 0; i < yields; ++i) co_await yield();
                static_cast<void>(co_await sleep_for(1ms));
                ++ran;
            },
            round);
        home->run_until_idle();
        CHECK(ran == round);
        check_books(home->stats());
    }
}

TEST_CASE("reactor: run() ends after request_stop() and the end of all tasks") {
    const auto home = make_reactor();
    bool cancelled = false;
    bool done = false;
    home->spawn([&]() -> task<> {
        const auto slept = co_await sleep_for(1h);
        cancelled = !slept;
        for (int i = 0; i < 10; ++i) co_await yield();
        done = true;
    });
    home->spawn([&]() -> task<> {
        static_cast<void>(co_await sleep_for(1ms));
        CHECK_FALSE(home->draining());
        home->request_stop();
        CHECK(home->draining());
        CHECK_FALSE(done);
    });
    home->run();
    CHECK(cancelled);
    CHECK(done);
    check_books(home->stats());
    home->run();  // stopped already
}

TEST_CASE("reactor: a task spawned after the stop starts cancelled") {
    const auto home = make_reactor();
    home->request_stop();
    bool cancelled = false;
    home->spawn([&]() -> task<> {
        const auto slept = co_await sleep_for(1h);
        cancelled = !slept;
    });
    home->run();
    CHECK(cancelled);
}

TEST_CASE("reactor: drain tells its listeners once and leaves work in flight alone") {
    struct listener final : sluice::detail::drain_listener {
        void on_drain() noexcept override { ++told; }
        int told = 0;
    };
    const auto home = make_reactor();
    listener l;
    home->drain_listeners().add(l);
    CHECK_FALSE(home->draining());
    bool slept_well = false;
    home->spawn([&]() -> task<> {
        home->request_drain();
        home->request_drain();
        const auto slept = co_await sleep_for(1ms);
        slept_well = slept.has_value();
    });
    home->run_until_idle();
    CHECK(home->draining());
    CHECK(slept_well);
    home->request_stop();
    CHECK(l.told == 1);
}

TEST_CASE("reactor: destroyed with tasks that wait or have not started, it destroys them") {
    census book;
    {
        const auto home = make_reactor();
        for (int i = 0; i < 3; ++i)
            home->spawn(
                [](counted) -> task<> {
                    for (;;) static_cast<void>(co_await sleep_for(1h));
                },
                counted{book});
        home->spawn([&]() -> task<> {
            const counted local{book};
            static_cast<void>(co_await with_nursery([&](sluice::nursery& n) -> task<> {
                n.spawn([](counted) -> task<> { static_cast<void>(co_await sleep_for(1h)); },
                        counted{book});
                n.spawn([&]() -> task<> {
                    const counted deep{book};
                    static_cast<void>(co_await with_timeout(1h, sleep_for(1h)));
                });
                co_await yield();
                home->abandon();
            }));
        });
        home->run();
        CHECK(home->stats().tasks_destroyed == 4);
        check_books(home->stats());
    }
    CHECK(book.balanced());
    {
        const auto home = make_reactor();
        home->spawn([](counted) -> task<> { co_return; }, counted{book});
    }
    CHECK(book.balanced());
}

TEST_CASE("reactor: what escapes from a root task is counted, and the others go on") {
    const auto home = make_reactor();
    int finished = 0;
    home->spawn([]() -> task<> {
        throw std::runtime_error("the test's own");
        co_return;
    });
    home->spawn([]() -> task<> {
        co_await yield();
        throw 7;
    });
    home->spawn(
        []() -> task<result<void>> { co_return make_error_code(sluice::error::truncated); });
    for (int i = 0; i < 3; ++i)
        home->spawn([&]() -> task<> {
            const auto slept = co_await sleep_for(1ms);
            if (slept) ++finished;
        });
    home->run_until_idle();
    CHECK(finished == 3);
    CHECK(home->stats().task_failures == 3);
    check_books(home->stats());
}

TEST_CASE("reactor: posts from other threads wake it and all run, on its thread") {
    constexpr int threads = 4;
    constexpr int each = 250;
    const auto home = make_reactor();
    const auto thread = std::this_thread::get_id();
    int ran = 0;  // touched by the reactor's thread only
    int elsewhere = 0;
    home->spawn([]() -> task<> { static_cast<void>(co_await sleep_for(1h)); });
    std::vector<std::thread> posters;
    for (int t = 0; t < threads; ++t)
        posters.emplace_back([&, t] {
            for (int i = 0; i < each; ++i) {
                // Some come in a burst, some find the reactor asleep.
                if (i % 50 == t) std::this_thread::sleep_for(2ms);
                home->post([&] {
                    elsewhere += std::this_thread::get_id() == thread ? 0 : 1;
                    if (++ran == threads * each) home->request_stop();
                });
            }
        });
    home->run();
    for (auto& p : posters) p.join();
    CHECK(ran == threads * each);
    CHECK(elsewhere == 0);
    const auto stats = home->stats();
    CHECK(stats.wake_ups > 0);
    CHECK(stats.wake_ups <= threads * each);
    check_books(stats);
}

TEST_CASE("reactor: each single post wakes it") {
    std::promise<reactor*> made;
    std::promise<void> last_post_returned;
    std::thread owner([&] {
        const auto home = make_reactor();
        home->spawn([]() -> task<> { static_cast<void>(co_await sleep_for(1h)); });
        made.set_value(home.get());
        home->run();
        last_post_returned.get_future().wait();
    });
    reactor* home = made.get_future().get();
    for (int i = 0; i < 200; ++i) {
        std::promise<int> answer;
        home->post([&answer, i] { answer.set_value(i); });
        auto future = answer.get_future();
        REQUIRE(future.wait_for(20s) == std::future_status::ready);
        CHECK(future.get() == i);
    }
    home->post([home] { home->request_stop(); });
    last_post_returned.set_value();
    owner.join();
}

TEST_CASE("reactor: posts keep their order, and a post may post and spawn") {
    const auto home = make_reactor();
    std::vector<int> order;
    home->spawn([&]() -> task<> {
        for (int i = 0; i < 3; ++i) home->post([&order, i] { order.push_back(i); });
        home->post([&] {
            home->post([&] {
                order.push_back(3);
                home->spawn([&]() -> task<> {
                    order.push_back(4);
                    home->request_stop();
                    co_return;
                });
            });
        });
        static_cast<void>(co_await sleep_for(1h));
    });
    home->run();
    CHECK(order == std::vector{0, 1, 2, 3, 4});
}

TEST_CASE("reactor: posted functions that never ran are destroyed with it") {
    const auto shared = std::make_shared<int>(1);
    {
        const auto home = make_reactor();
        home->post([shared] { ++*shared; });
    }
    CHECK(*shared == 1);
    CHECK(shared.use_count() == 1);
}

TEST_CASE("reactor: stats count turns, resumes and timers") {
    const auto home = make_reactor();
    const auto before = home->stats();
    CHECK(before.live_operations == 0);
    sluice::reactor_stats inside{};
    home->spawn([&]() -> task<> {
        for (int i = 0; i < 10; ++i) co_await yield();
        for (int i = 0; i < 3; ++i) static_cast<void>(co_await sleep_for(1us));
        inside = home->stats();
    });
    home->run_until_idle();
    const auto after = home->stats();
    CHECK(after.resumes == before.resumes + 1 + 10 + 3);
    CHECK(after.timers_expired == before.timers_expired + 3);
    CHECK(after.turns >= before.turns + 4);  // several passes through the ready list in one
    CHECK(inside.live_frames == 2);          // the root's child and the task in it
    CHECK(after.live_frames == 0);
    CHECK(after.pooled_frames >= 2);
    CHECK(after.task_failures == 0);
    CHECK(after.tasks_destroyed == 0);
}

TEST_CASE("reactor: it sleeps while nothing is to be done") {
    const auto stats =
        sluice::testing::run([]() -> task<> { static_cast<void>(co_await sleep_for(50ms)); });
    CHECK(stats.turns < 20);
    CHECK(stats.enters < 20);
}

SLUICE_TEST_CASE("reactor: now() is the clock's, at the beginning of the turn") {
    reactor& home = co_await sluice::this_coro::reactor();
    co_await yield();
    const auto here = home.now();
    CHECK(here <= reactor::clock::now());
    CHECK(reactor::clock::now() - here < 10s);
    static_cast<void>(co_await sleep_for(1ms));
    CHECK(home.now() >= here + 1ms);
}

TEST_CASE("reactor: a frame that dies on another thread comes home") {
    const auto stats = sluice::testing::run([](reactor& home) -> task<> {
        const auto live = home.stats().live_frames;
        auto unstarted = []() -> task<> { co_return; }();
        CHECK(home.stats().live_frames == live + 1);
        std::thread([t = std::move(unstarted)]() mutable {
            const task<> dies = std::move(t);
        }).join();
        CHECK(home.stats().live_frames == live);
        const auto pooled = home.stats().pooled_frames;
        co_await yield();
        co_await yield();
        CHECK(home.stats().pooled_frames == pooled + 1);
    });
    CHECK(stats.live_frames == 0);
}

TEST_CASE("reactor: explanations name the cause and the remedy") {
    for (const int code : {EPERM, ENOSYS, EINVAL, ENOMEM, EMFILE, EEXIST, EIO}) {
        CAPTURE(code);
        const std::string text = sluice::explain_ring_error(sluice::errno_error(code));
        CHECK(text.size() > 20);
        CHECK(text.find('\n') == std::string::npos);
    }
    CHECK(sluice::explain_ring_error(sluice::errno_error(ENOMEM)).find("ulimit") !=
          std::string::npos);
    CHECK(sluice::explain_ring_error(sluice::errno_error(ENOSYS)).find("6.1") != std::string::npos);
}
