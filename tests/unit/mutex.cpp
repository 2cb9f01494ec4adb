// SPDX-License-Identifier: Apache-2.0
#include "sluice/mutex.hpp"

#include <memory>
#include <vector>

#include "sluice/semaphore.hpp"
#include "support/child.hpp"
#include "unit/sync.hpp"

using namespace sluice::testing;
using sluice::mutex;
using sluice::mutex_lock;
using sluice::nursery;
using sluice::semaphore;
using sluice::semaphore_permit;
using sluice::task;
using sluice::with_nursery;
using sluice::yield;

SLUICE_TEST_CASE("mutex: one at a time, in the order of asking") {
    mutex m;
    int inside = 0;
    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 4; ++i)
            n.spawn([&, i]() -> task<> {
                for (int round = 0; round < 2; ++round) {
                    auto lock = co_await m.lock();
                    CHECK(lock.has_value());
                    CHECK(++inside == 1);
                    order.push_back(i);
                    co_await yield();
                    --inside;
                }
            });
        co_return;
    }));
    CHECK(order == std::vector{0, 1, 2, 3, 0, 1, 2, 3});
    CHECK(!m.locked());
}

SLUICE_TEST_CASE("mutex: try_lock, moved and early unlocked locks") {
    mutex m;
    mutex other;
    mutex_lock first = m.try_lock();
    CHECK(first.owns_lock());
    CHECK(!m.try_lock());
    mutex_lock second = std::move(first);
    CHECK(!first.owns_lock());
    CHECK(m.locked());
    second.unlock();
    second.unlock();
    CHECK(!m.locked());
    second = m.try_lock();
    second = other.try_lock();  // unlocks the one it had
    CHECK(!m.locked());
    CHECK(other.locked());
    co_return;
}

SLUICE_TEST_CASE("mutex: nobody overtakes the one that it has been handed to") {
    mutex m;
    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        auto mine = m.try_lock();
        n.spawn([&]() -> task<> {
            auto lock = co_await m.lock();
            order.push_back(1);
        });
        co_await settle();
        mine.unlock();
        CHECK(!m.try_lock());
        auto lock = co_await m.lock();
        order.push_back(2);
    }));
    CHECK(order == std::vector{1, 2});
}

SLUICE_TEST_CASE("mutex: cancelled before, while waiting, and just after it was handed over") {
    mutex m;
    const auto before = co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&]() -> task<sluice::result<void>> {
            auto lock = co_await m.lock();
            co_return lock ? sluice::result<void>{} : lock.error();
        });
        co_return;
    });
    CHECK(is_cancelled(before));
    CHECK(!m.locked());

    bool got = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        auto mine = m.try_lock();
        n.spawn([&]() -> task<> {
            auto lock = co_await m.lock();
            got = lock.has_value();
        });
        co_await settle();
        n.request_stop();
        mine.unlock();
        CHECK(!m.locked());  // it had left the line
    }));
    CHECK(!got);

    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        auto mine = m.try_lock();
        n.spawn([&]() -> task<> {
            auto lock = co_await m.lock();
            got = lock.has_value();
        });
        co_await settle();
        mine.unlock();
        n.request_stop();
    }));
    CHECK(got);
    CHECK(!m.locked());
}

SLUICE_TEST_CASE("mutex: a lock that nobody takes goes to the next") {
    mutex m;
    bool got = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        auto mine = m.try_lock();
        n.spawn([&]() -> task<> { co_await discarded{m.lock()}; });
        n.spawn([&]() -> task<> {
            auto lock = co_await m.lock();
            got = lock.has_value();
        });
        co_await settle();
        mine.unlock();
    }));
    CHECK(got);
    co_await discarded{m.lock()};  // free: taken at once, and given back
    CHECK(!m.locked());
}

SLUICE_TEST_CASE("mutex: locking allocates nothing, free or not") {
    mutex m;
    bool done = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            while (!done) {
                auto lock = co_await m.lock();
                co_await yield();
            }
        });
        co_await settle();
        co_await check_allocates_nothing([&]() -> task<> {
            auto lock = co_await m.lock();
            co_await yield();
        });
        done = true;
    }));
}

TEST_CASE("mutex: destroyed while it is locked or waited for, it ends the program") {
    expect_death(
        [] {
            auto m = std::make_unique<mutex>();
            auto* lock = new mutex_lock(m->try_lock());  // outlives it
            CHECK(lock->owns_lock());
            m.reset();
        },
        "a mutex was destroyed while it is locked");
}

SLUICE_TEST_CASE("semaphore: counts") {
    semaphore s{3};
    {
        auto two = s.try_acquire(2);
        CHECK(two.count() == 2);
        CHECK(!s.try_acquire(2));
        auto one = co_await s.acquire();
        CHECK(one.has_value());
        CHECK(s.available() == 0);
        two.release();
        two.release();
        CHECK(s.available() == 2);
        auto moved = std::move(*one);
        CHECK(one->count() == 0);
        CHECK(moved.forget() == 1);
    }
    CHECK(s.available() == 2);
    s.release();
    CHECK(s.available() == 3);
    auto none = co_await s.acquire(0);
    CHECK(none.has_value());
    CHECK(none->count() == 0);
}

SLUICE_TEST_CASE("semaphore: a big request is not starved by small ones") {
    semaphore s{2};
    std::vector<int> order;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        auto held = s.try_acquire(1);
        const auto takes = [&](std::size_t count, int name) -> task<> {
            auto p = co_await s.acquire(count);
            CHECK(p.has_value());
            order.push_back(name);
            co_await yield();
        };
        n.spawn(takes, std::size_t{2}, 1);
        co_await settle();
        n.spawn(takes, std::size_t{1}, 2);
        n.spawn(takes, std::size_t{1}, 3);
        co_await settle();
        CHECK(s.available() == 1);
        CHECK(order.empty());
        CHECK(!s.try_acquire(1));
        held.release();
    }));
    CHECK(order == std::vector{1, 2, 3});
    CHECK(s.available() == 2);
}

SLUICE_TEST_CASE("semaphore: when a big request is cancelled, those behind it go on") {
    semaphore s{1};
    int got = 0;
    static_cast<void>(co_await with_nursery([&](nursery& outer) -> task<> {
        static_cast<void>(co_await with_nursery([&](nursery& inner) -> task<> {
            inner.spawn([&]() -> task<> {
                auto p = co_await s.acquire(5);
                CHECK(is_cancelled(p));
            });
            co_await settle();
            outer.spawn([&]() -> task<> {
                auto p = co_await s.acquire();
                got += p.has_value() ? 1 : 0;
            });
            co_await settle();
            CHECK(got == 0);
            inner.request_stop();
        }));
    }));
    CHECK(got == 1);
    CHECK(s.available() == 1);
}

SLUICE_TEST_CASE("semaphore: cancelled before and just after the permits were there") {
    semaphore s{1};
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&]() -> task<> {
            auto p = co_await s.acquire();
            CHECK(is_cancelled(p));
        });
        co_return;
    }));
    CHECK(s.available() == 1);

    bool got = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        auto mine = s.try_acquire();
        n.spawn([&]() -> task<> {
            auto p = co_await s.acquire();
            got = p.has_value();
        });
        co_await settle();
        mine.release();
        n.request_stop();
    }));
    CHECK(got);
    CHECK(s.available() == 1);
}

SLUICE_TEST_CASE("semaphore: permits that nobody takes are given back") {
    semaphore s{2};
    bool got = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        auto mine = s.try_acquire(2);
        n.spawn([&]() -> task<> { co_await discarded{s.acquire(2)}; });
        n.spawn([&]() -> task<> {
            auto p = co_await s.acquire(2);
            got = p.has_value();
        });
        co_await settle();
        mine.release();
    }));
    CHECK(got);
    CHECK(s.available() == 2);
}

SLUICE_TEST_CASE("semaphore: acquiring allocates nothing") {
    semaphore s{1};
    bool done = false;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            while (!done) {
                auto p = co_await s.acquire();
                co_await yield();
            }
        });
        co_await settle();
        co_await check_allocates_nothing([&]() -> task<> {
            auto p = co_await s.acquire();
            co_await yield();
        });
        done = true;
    }));
}

TEST_CASE("semaphore: destroyed while a coroutine waits in it, it ends the program") {
    expect_death(
        [] {
            const auto home = make_reactor();
            auto s = std::make_unique<semaphore>(0);
            home->spawn([&]() -> task<> { static_cast<void>(co_await s->acquire()); });
            home->spawn([&]() -> task<> {
                co_await settle();
                s.reset();
            });
            home->run_until_idle();
        },
        "a semaphore was destroyed while coroutines wait in it");
}
