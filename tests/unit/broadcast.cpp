// SPDX-License-Identifier: Apache-2.0
#include "sluice/broadcast.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "sluice/buffer.hpp"
#include "support/child.hpp"
#include "unit/sync.hpp"

using namespace sluice::testing;
using sluice::broadcast;
using sluice::error;
using sluice::nursery;
using sluice::on_overflow;
using sluice::subscription;
using sluice::task;
using sluice::with_nursery;

namespace {

task<> receive_all(subscription<int> from, std::vector<int>& got) {
    while (auto v = co_await from.recv()) got.push_back(*v);
}

}  // namespace

SLUICE_TEST_CASE("broadcast: each subscriber sees all that is sent after it subscribed") {
    broadcast<int> b;
    const auto nobody = co_await b.send(0);
    CHECK(nobody.value() == 0);
    std::vector<int> first;
    std::vector<int> second;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn(receive_all, b.subscribe(), std::ref(first));
        const auto to_one = co_await b.send(1);
        CHECK(to_one.value() == 1);
        n.spawn(receive_all, b.subscribe(), std::ref(second));
        for (int i = 2; i < 100; ++i) {
            const auto to_two = co_await b.send(i);
            CHECK(to_two.value() == 2);
        }
        b.close();
        const auto late = co_await b.send(100);
        CHECK(is(late, error::channel_closed));
    }));
    CHECK(first.size() == 99);
    CHECK(second.size() == 98);
    CHECK(first.front() == 1);
    CHECK(second.front() == 2);
    CHECK(std::is_sorted(first.begin(), first.end()));
    CHECK(b.subscribers() == 0);
    CHECK(b.lost() == 0);
    CHECK_THROWS_AS((broadcast<int>{{.capacity = 0}}), std::invalid_argument);
}

SLUICE_TEST_CASE("broadcast: wait: senders wait for the slowest, in order") {
    broadcast<int> b{{.capacity = 2, .policy = on_overflow::wait}};
    auto slow = b.subscribe();
    auto fast = b.subscribe();
    std::vector<int> sent;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 4; ++i)
            n.spawn([&, i]() -> task<> {
                const auto r = co_await b.send(i);
                CHECK(r.value() == (i < 3 ? 2 : 1));
                sent.push_back(i);
            });
        co_await settle();
        CHECK(sent == std::vector{0, 1});
        for (int i = 0; i < 2; ++i) static_cast<void>(co_await fast.recv());
        co_await settle();
        CHECK(sent.size() == 2);
        const auto v = co_await slow.recv();
        CHECK(v.value() == 0);
        co_await settle();
        CHECK(sent == std::vector{0, 1, 2});
        { const auto gone = std::move(slow); }  // nobody waits for one that has left
    }));
    CHECK(sent == std::vector{0, 1, 2, 3});
    CHECK(b.waits() == 2);
    for (int i = 2; i < 4; ++i) {
        const auto v = co_await fast.recv();
        CHECK(v.value() == i);
    }
}

SLUICE_TEST_CASE("broadcast: lag: the slow one is told how many it has lost") {
    broadcast<int> b{{.capacity = 3, .policy = on_overflow::lag}};
    auto slow = b.subscribe();
    auto fast = b.subscribe();
    for (int i = 0; i < 8; ++i) {
        static_cast<void>(co_await b.send(i));
        const auto v = co_await fast.recv();
        CHECK(v.value() == i);
    }
    CHECK(b.lost() == 5);
    CHECK(b.waits() == 0);
    CHECK(slow.lost() == 0);  // it has not asked yet
    const auto told = co_await slow.recv();
    CHECK(is(told, error::lagged));
    CHECK(slow.lost() == 5);
    for (int i = 5; i < 8; ++i) {
        const auto v = co_await slow.recv();
        CHECK(v.value() == i);
    }
    CHECK(slow.lost() == 5);
    CHECK(fast.lost() == 0);
}

SLUICE_TEST_CASE("broadcast: lag: a value can be lost after its receiver was woken") {
    broadcast<int> b{{.capacity = 1, .policy = on_overflow::lag}};
    auto s = b.subscribe();
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto told = co_await s.recv();
            CHECK(is(told, error::lagged));
            const auto v = co_await s.recv();
            CHECK(v.value() == 2);
        });
        co_await settle();
        static_cast<void>(co_await b.send(1));
        static_cast<void>(co_await b.send(2));
    }));
    CHECK(s.lost() == 1);
}

SLUICE_TEST_CASE("broadcast: recv cancelled before, while waiting, and just after a value came") {
    broadcast<int> b;
    auto s = b.subscribe();
    static_cast<void>(co_await b.send(1));
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&]() -> task<> {
            const auto v = co_await s.recv();
            CHECK(is_cancelled(v));
        });
        co_return;
    }));
    const auto one = co_await s.recv();
    CHECK(one.value() == 1);
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await s.recv();
            CHECK(is_cancelled(v));
        });
        co_await settle();
        n.request_stop();
        static_cast<void>(co_await sluice::yield());
    }));
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await s.recv();
            CHECK(v.value() == 2);
        });
        co_await settle();
        static_cast<void>(co_await b.send(2));
        n.request_stop();
    }));
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> { co_await discarded{s.recv()}; });
        co_await settle();
        static_cast<void>(co_await b.send(3));
    }));
    const auto three = co_await s.recv();
    CHECK(three.value() == 3);
}

SLUICE_TEST_CASE("broadcast: send cancelled while waiting, and room that is not used") {
    broadcast<int> b{{.capacity = 1}};
    auto s = b.subscribe();
    static_cast<void>(co_await b.send(1));
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto r = co_await b.send(2);
            CHECK(is_cancelled(r));
        });
        co_await settle();
        n.request_stop();
    }));
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> { co_await discarded{b.send(3)}; });
        n.spawn([&]() -> task<> {
            const auto r = co_await b.send(4);
            CHECK(r.value() == 1);
        });
        co_await settle();
        const auto one = co_await s.recv();
        CHECK(one.value() == 1);
    }));
    const auto four = co_await s.recv();
    CHECK(four.value() == 4);
}

SLUICE_TEST_CASE("broadcast: close, and the end of the broadcast") {
    std::optional<broadcast<std::string>> b{std::in_place};
    auto s = b->subscribe();
    auto other = b->subscribe();
    static_cast<void>(co_await b->send("last"));
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await s.recv();
            CHECK(v.value() == "last");
            const auto end = co_await s.recv();
            CHECK(is(end, error::channel_closed));
        });
        co_await settle();
        b->close();
        b.reset();
    }));
    const auto gone = co_await other.recv();
    CHECK(is(gone, error::channel_closed));
}

SLUICE_TEST_CASE("broadcast: buffers are shared, not copied") {
    broadcast<sluice::rx_buffer> b;
    auto one = b.subscribe();
    auto two = b.subscribe();
    const std::string text = "hello";
    auto buffer = sluice::rx_buffer::copy_of(std::as_bytes(std::span{text}));
    const auto* where = buffer.bytes().data();
    static_cast<void>(co_await b.send(std::move(buffer)));
    const auto first = co_await one.recv();
    const auto second = co_await two.recv();
    CHECK(first->bytes().data() == where);
    CHECK(second->bytes().data() == where);
}

SLUICE_TEST_CASE("broadcast: one receive at a time") {
    broadcast<int> b;
    auto s = b.subscribe();
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            const auto v = co_await s.recv();
            CHECK(v.value() == 1);
        });
        co_await settle();
        static_cast<void>(co_await b.send(1));  // the receiver is woken and has not run
        bool refused = false;
        try {
            static_cast<void>(co_await s.recv());
        } catch (const std::logic_error&) {
            refused = true;
        }
        CHECK(refused);
    }));
}

SLUICE_TEST_CASE("broadcast: sending and receiving allocate nothing") {
    broadcast<int> b{{.capacity = 1}};
    auto mine = b.subscribe();
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn(
            [](subscription<int> s) -> task<> {
                while (auto v = co_await s.recv()) {}
            },
            b.subscribe());
        co_await check_allocates_nothing([&]() -> task<> {
            for (int i = 0; i < 2; ++i) {
                static_cast<void>(co_await b.send(i));
                static_cast<void>(co_await mine.recv());
            }
        });
        b.close();
    }));
}

TEST_CASE("broadcast: destroyed while senders or receivers wait, it ends the program") {
    expect_death(
        [] {
            const auto home = make_reactor();
            broadcast<int> b;
            auto s = b.subscribe();
            home->spawn([&]() -> task<> { static_cast<void>(co_await s.recv()); });
            home->spawn([&]() -> task<> {
                co_await settle();
                s = {};
            });
            home->run_until_idle();
        },
        "a subscription was destroyed while coroutines wait in it");
}
