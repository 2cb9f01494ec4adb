// SPDX-License-Identifier: Apache-2.0
#include "sluice/oneshot.hpp"

#include <cerrno>
#include <memory>
#include <stdexcept>

#include "support/child.hpp"
#include "support/counted.hpp"
#include "unit/sync.hpp"

using namespace sluice::testing;
using sluice::error;
using sluice::nursery;
using sluice::oneshot;
using sluice::oneshot_receiver;
using sluice::oneshot_sender;
using sluice::task;
using sluice::with_nursery;

SLUICE_TEST_CASE("oneshot: sent before, and while the receiver waits") {
    for (const bool waits : {false, true}) {
        auto [tx, rx] = oneshot<int>{};
        oneshot_sender<int> sender = std::move(tx);
        oneshot_receiver<int> receiver = std::move(rx);
        CHECK(!tx.wanted());
        CHECK(sender.wanted());
        CHECK(receiver.try_recv().error() == sluice::errno_error(EAGAIN));
        if (!waits) CHECK(sender.send(5).has_value());
        int got = 0;
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&]() -> task<> {
                const auto v = co_await receiver.recv();
                got = v.value();
            });
            co_await settle();
            if (waits) CHECK(sender.send(5).has_value());
        }));
        CHECK(got == 5);
        CHECK_THROWS_AS(static_cast<void>(sender.send(6)), std::logic_error);
        const auto again = co_await receiver.recv();
        CHECK(is(again, error::channel_closed));
    }
}

SLUICE_TEST_CASE("oneshot: a dropped sender closes, whether or not the receiver waits") {
    oneshot<int> early;
    { const auto gone = std::move(early.sender); }
    const auto closed = co_await early.receiver.recv();
    CHECK(is(closed, error::channel_closed));
    CHECK(is(early.receiver.try_recv(), error::channel_closed));

    oneshot<int> late;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await late.receiver.recv();
            CHECK(is(v, error::channel_closed));
        });
        co_await settle();
        late.sender = {};
    }));
    oneshot_receiver<int> empty;
    const auto none = co_await empty.recv();
    CHECK(is(none, error::channel_closed));
}

SLUICE_TEST_CASE("oneshot: the sender survives a receiver that is cancelled, or gone") {
    oneshot<int> cancelled;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await cancelled.receiver.recv();
            CHECK(is_cancelled(v));
        });
        co_await settle();
        n.request_stop();
        CHECK(cancelled.sender.send(7).has_value());
    }));
    const auto later = co_await cancelled.receiver.recv();
    CHECK(later.value() == 7);

    census book;
    {
        oneshot<counted> gone;
        { const auto end = std::move(gone.receiver); }
        CHECK(!gone.sender.wanted());
        counted kept{book, 3};
        CHECK(is(gone.sender.send(std::move(kept)), error::channel_closed));
        CHECK(kept.value() == 3);
        oneshot<counted> untaken;
        CHECK(untaken.sender.send(counted{book, 4}).has_value());
    }
    CHECK(book.balanced());
}

SLUICE_TEST_CASE("oneshot: cancelled before and just after the value came") {
    oneshot<int> a;
    CHECK(a.sender.send(1).has_value());
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&]() -> task<> {
            const auto v = co_await a.receiver.recv();
            CHECK(is_cancelled(v));
        });
        co_return;
    }));
    CHECK(a.receiver.try_recv().value() == 1);

    oneshot<int> b;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await b.receiver.recv();
            CHECK(v.value() == 2);
        });
        co_await settle();
        CHECK(b.sender.send(2).has_value());
        CHECK(b.receiver.try_recv().error() == sluice::errno_error(EAGAIN));  // it is spoken for
        n.request_stop();
    }));

    oneshot<int> c;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> { co_await discarded{c.receiver.recv()}; });
        co_await settle();
        CHECK(c.sender.send(3).has_value());
    }));
    CHECK(c.receiver.try_recv().value() == 3);
}

SLUICE_TEST_CASE("oneshot: one receive at a time") {
    oneshot<int> o;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await o.receiver.recv();
            CHECK(v.value() == 1);
        });
        co_await settle();
        bool refused = false;
        try {
            static_cast<void>(co_await o.receiver.recv());
        } catch (const std::logic_error&) {
            refused = true;
        }
        CHECK(refused);
        CHECK(o.sender.send(1).has_value());
    }));
}

SLUICE_TEST_CASE("oneshot: making one and waiting allocate nothing from the heap") {
    co_await check_allocates_nothing([&]() -> task<> {
        oneshot<int> o;
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            n.spawn([&]() -> task<> { static_cast<void>(co_await o.receiver.recv()); });
            co_await sluice::yield();
            CHECK(o.sender.send(1).has_value());
        }));
    });
}

TEST_CASE("oneshot: a receiver that is destroyed while it waits ends the program") {
    expect_death(
        [] {
            const auto home = make_reactor();
            auto o = std::make_unique<oneshot<int>>();
            home->spawn([&]() -> task<> { static_cast<void>(co_await o->receiver.recv()); });
            home->spawn([&]() -> task<> {
                co_await settle();
                o->receiver = {};
            });
            home->run_until_idle();
        },
        "a oneshot was destroyed while its receiver waits");
}
