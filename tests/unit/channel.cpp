// SPDX-License-Identifier: Apache-2.0
#include "sluice/channel.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "support/child.hpp"
#include "support/counted.hpp"
#include "unit/sync.hpp"

using namespace sluice::testing;
using sluice::channel;
using sluice::errno_error;
using sluice::error;
using sluice::nursery;
using sluice::result;
using sluice::task;
using sluice::with_nursery;
using sluice::yield;

namespace {

bool would_block(const auto& r) { return r.has_error() && r.error() == errno_error(EAGAIN); }

task<> receive_all(channel<int>& c, std::vector<int>& got) {
    while (auto v = co_await c.recv()) got.push_back(*v);
}

}  // namespace

SLUICE_TEST_CASE("channel: values come out in the order they went in, through any room") {
    for (const std::size_t capacity : {1U, 2U, 7U, 100U}) {
        CAPTURE(capacity);
        channel<int> c{capacity};
        std::vector<int> got;
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&] { return receive_all(c, got); });
            for (int i = 0; i < 50; ++i) {
                const auto sent = co_await c.send(i);
                CHECK(sent.has_value());
                CHECK(c.size() <= capacity);
            }
            c.close();
        }));
        std::vector<int> expected(50);
        std::iota(expected.begin(), expected.end(), 0);
        CHECK(got == expected);
    }
    CHECK_THROWS_AS(channel<int>{0}, std::invalid_argument);
}

SLUICE_TEST_CASE("channel: a sender waits while it is full, senders are first come, first served") {
    channel<int> c{1};
    std::vector<int> sent;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 4; ++i)
            n.spawn([&, i]() -> task<> {
                const auto r = co_await c.send(i);
                CHECK(r.has_value());
                sent.push_back(i);
            });
        co_await settle();
        CHECK(sent == std::vector{0});
        CHECK(would_block(c.try_send(9)));
        for (int i = 0; i < 4; ++i) {
            const auto v = co_await c.recv();
            CHECK(*v == i);
        }
    }));
    CHECK(sent == std::vector{0, 1, 2, 3});
    CHECK(c.size() == 0);
}

SLUICE_TEST_CASE("channel: receivers are first come, first served") {
    channel<int> c{8};
    std::vector<int> who(3, -1);
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (std::size_t i = 0; i < 3; ++i)
            n.spawn([&, i]() -> task<> {
                const auto v = co_await c.recv();
                who[i] = v.value();
            });
        co_await settle();
        for (int i = 0; i < 3; ++i) CHECK(c.try_send(i + 10).has_value());
        CHECK(would_block(c.try_recv()));  // they are for those who wait
        CHECK(c.try_send(13).has_value());
        const auto mine = c.try_recv();  // behind theirs: they have not run yet
        CHECK(mine.has_value());
    }));
    // Nothing is lost or doubled, and nobody is forgotten.
    CHECK(std::accumulate(who.begin(), who.end(), 0) >= 10 + 11 + 12);
}

SLUICE_TEST_CASE("channel: close lets what was sent be received") {
    channel<int> c{4};
    CHECK(c.try_send(1).has_value());
    CHECK(c.try_send(2).has_value());
    c.close();
    c.close();
    CHECK(c.closed());
    CHECK(is(c.try_send(3), error::channel_closed));
    const auto late = co_await c.send(3);
    CHECK(is(late, error::channel_closed));
    const auto one = co_await c.recv();
    CHECK(one.value() == 1);
    CHECK(c.try_recv().value() == 2);
    CHECK(is(c.try_recv(), error::channel_closed));
    const auto end = co_await c.recv();
    CHECK(is(end, error::channel_closed));
}

SLUICE_TEST_CASE("channel: close wakes all that wait, and the channel may go") {
    auto empty = std::make_unique<channel<int>>(1);
    auto full = std::make_unique<channel<int>>(1);
    CHECK(full->try_send(0).has_value());
    int closed = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 2; ++i) {
            n.spawn([&]() -> task<> {
                const auto v = co_await empty->recv();
                closed += is(v, error::channel_closed) ? 1 : 0;
            });
            n.spawn([&]() -> task<> {
                const auto s = co_await full->send(1);
                closed += is(s, error::channel_closed) ? 1 : 0;
            });
        }
        co_await settle();
        empty->close();
        full->close();
        empty.reset();
        full.reset();
    }));
    CHECK(closed == 4);
}

SLUICE_TEST_CASE("channel: closed while a value is on its way to a receiver and others wait") {
    channel<int> c{4};
    std::vector<int> got;
    int closed = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 3; ++i)
            n.spawn([&]() -> task<> {
                const auto v = co_await c.recv();
                if (v)
                    got.push_back(*v);
                else
                    closed += is(v, error::channel_closed) ? 1 : 0;
            });
        co_await settle();
        CHECK(c.try_send(5).has_value());
        c.close();
    }));
    CHECK(got == std::vector{5});
    CHECK(closed == 2);
}

SLUICE_TEST_CASE("channel: a sender that was given room does not send into a closed channel") {
    channel<int> c{1};
    CHECK(c.try_send(1).has_value());
    result<void> sent;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> { sent = co_await c.send(2); });
        co_await settle();
        CHECK(c.try_recv().value() == 1);  // the sender has room now, and has not run
        CHECK(would_block(c.try_send(3)));
        c.close();
    }));
    CHECK(is(sent, error::channel_closed));
    CHECK(is(c.try_recv(), error::channel_closed));
}

SLUICE_TEST_CASE("channel: recv cancelled before, while waiting, and just after a value came") {
    channel<int> c{2};
    CHECK(c.try_send(1).has_value());
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&]() -> task<> {
            const auto v = co_await c.recv();
            CHECK(is_cancelled(v));
        });
        co_return;
    }));
    CHECK(c.try_recv().value() == 1);

    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await c.recv();
            CHECK(is_cancelled(v));
        });
        co_await settle();
        n.request_stop();
        CHECK(c.try_send(2).has_value());
    }));
    CHECK(c.try_recv().value() == 2);

    int got = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await c.recv();
            got = v.value();
        });
        co_await settle();
        CHECK(c.try_send(3).has_value());
        n.request_stop();
    }));
    CHECK(got == 3);
}

SLUICE_TEST_CASE("channel: a value that its receiver does not take goes to the next, in order") {
    channel<int> c{4};
    std::vector<int> got;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> { co_await discarded{c.recv()}; });
        n.spawn([&] { return receive_all(c, got); });
        co_await settle();
        for (int i = 0; i < 3; ++i) CHECK(c.try_send(i + 0).has_value());
        c.close();
    }));
    CHECK(got == std::vector{0, 1, 2});
    channel<int> d{2};
    CHECK(d.try_send(7).has_value());
    co_await discarded{d.recv()};
    CHECK(d.try_recv().value() == 7);
}

SLUICE_TEST_CASE("channel: send cancelled before, while waiting, and just after there was room") {
    channel<int> c{1};
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&]() -> task<> {
            const auto s = co_await c.send(1);
            CHECK(is_cancelled(s));
        });
        co_return;
    }));
    CHECK(c.size() == 0);

    CHECK(c.try_send(1).has_value());
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto s = co_await c.send(2);
            CHECK(is_cancelled(s));
        });
        co_await settle();
        n.request_stop();
        CHECK(c.try_recv().value() == 1);
    }));
    CHECK(c.size() == 0);

    CHECK(c.try_send(1).has_value());
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto s = co_await c.send(2);
            CHECK(s.has_value());
        });
        co_await settle();
        CHECK(c.try_recv().value() == 1);
        n.request_stop();
    }));
    CHECK(c.try_recv().value() == 2);
}

SLUICE_TEST_CASE("channel: room that a sender does not use goes to the next") {
    channel<int> c{1};
    CHECK(c.try_send(1).has_value());
    std::vector<int> got;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> { co_await discarded{c.send(2)}; });
        n.spawn([&]() -> task<> {
            const auto s = co_await c.send(3);
            CHECK(s.has_value());
            c.close();
        });
        co_await settle();
        n.spawn([&] { return receive_all(c, got); });
    }));
    CHECK(got == std::vector{1, 3});
}

SLUICE_TEST_CASE("channel: move-only values are destroyed once, wherever they are") {
    census book;
    {
        channel<counted> c{2};
        CHECK(c.try_send(counted{book, 1}).has_value());
        CHECK(c.try_send(counted{book, 2}).has_value());
        counted kept{book, 3};
        CHECK(would_block(c.try_send(std::move(kept))));
        CHECK(kept.value() == 3);
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&]() -> task<> {
                const auto s = co_await c.send_from(kept);
                CHECK(is_cancelled(s));
            });
            n.spawn([&]() -> task<> {
                const auto s = co_await c.send(counted{book, 4});
                CHECK(is_cancelled(s));
            });
            co_await settle();
            n.request_stop();
        }));
        CHECK(kept.value() == 3);
        const auto one = co_await c.recv();
        CHECK(one->value() == 1);
        const auto sent = co_await c.send_from(kept);
        CHECK(sent.has_value());
        CHECK(kept.value() == counted::moved_from);
    }
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("channel: many to many, with some who give up: nothing is lost or doubled") {
    channel<int> c{3};
    constexpr int senders = 4;
    constexpr int each = 500;
    std::vector<int> seen(senders * each, 0);
    int cancelled = 0;
    int running = senders;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int s = 0; s < senders; ++s)
            n.spawn([&, s]() -> task<> {
                for (int i = 0; i < each; ++i) {
                    const auto r = co_await c.send(s * each + i);
                    CHECK(r.has_value());
                    if (i % 7 == s) co_await yield();
                }
                if (--running == 0) c.close();
            });
        for (int r = 0; r < 3; ++r)
            n.spawn([&]() -> task<> {
                for (;;) {
                    // Its time is over before it begins: it takes what is there at once, or
                    // nothing.
                    auto v = co_await sluice::with_timeout(std::chrono::nanoseconds{0}, c.recv());
                    if (is(v, error::channel_closed)) co_return;
                    if (v)
                        ++seen[static_cast<std::size_t>(*v)];
                    else
                        ++cancelled;
                }
            });
        co_return;
    }));
    CHECK(std::count(seen.begin(), seen.end(), 1) == senders * each);
    CHECK(cancelled > 0);
}

SLUICE_TEST_CASE("channel: sending and receiving allocate nothing") {
    channel<int> there{1};
    channel<int> back{1};
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            while (auto v = co_await there.recv()) static_cast<void>(co_await back.send(*v));
        });
        co_await check_allocates_nothing([&]() -> task<> {
            static_cast<void>(co_await there.send(1));
            static_cast<void>(co_await there.send(2));
            for (int i = 0; i < 2; ++i) static_cast<void>(co_await back.recv());
        });
        there.close();
    }));
}

TEST_CASE("channel: destroyed while coroutines wait in it, it ends the program") {
    for (const bool sends : {false, true})
        expect_death(
            [sends] {
                const auto home = make_reactor();
                auto c = std::make_unique<channel<int>>(1);
                home->spawn([&]() -> task<> {
                    if (!sends) static_cast<void>(co_await c->recv());
                    while (sends) static_cast<void>(co_await c->send(1));
                });
                home->spawn([&]() -> task<> {
                    co_await settle();
                    c.reset();
                });
                home->run_until_idle();
            },
            "a channel was destroyed while coroutines wait in it");
}

TEST_CASE("channel: a reactor that is abandoned lets go of those who wait and those woken") {
    const auto home = make_reactor();
    auto c = std::make_unique<channel<int>>(1);
    for (int i = 0; i < 3; ++i)
        home->spawn([&]() -> task<> { static_cast<void>(co_await c->recv()); });
    home->spawn([&]() -> task<> {
        co_await settle();
        CHECK(c->try_send(1).has_value());
        home->abandon();
        c.reset();
    });
    home->run();
    check_books(home->stats());
}
