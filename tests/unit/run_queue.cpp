// SPDX-License-Identifier: Apache-2.0
#include "runtime/run_turn.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <coroutine>
#include <exception>
#include <functional>
#include <list>
#include <random>
#include <vector>

using sluice::detail::ready_list;
using sluice::detail::ready_node;
using sluice::detail::run_queue;

namespace {

//! A coroutine that calls a function each time it is resumed, for ever.
class repeated {
public:
    struct promise_type : ready_node {
        repeated get_return_object() {
            return repeated{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }
    };

    explicit repeated(std::coroutine_handle<promise_type> h) : handle_(h) {}
    repeated(const repeated&) = delete;
    repeated& operator=(const repeated&) = delete;
    ~repeated() { handle_.destroy(); }
    [[nodiscard]] ready_node& node() const { return handle_.promise(); }

private:
    std::coroutine_handle<promise_type> handle_;
};

repeated repeat(std::function<void()> fn) {
    for (;;) {
        fn();
        co_await std::suspend_always{};
    }
}

struct entry {
    explicit entry(std::function<void()> fn) : coroutine(repeat(std::move(fn))) {}
    repeated coroutine;
    ready_node& node = coroutine.node();
};

}  // namespace

TEST_CASE("ready_list: first in, first out; any one can be taken out") {
    std::mt19937 random(5);
    std::vector<ready_node> nodes(50);
    ready_list list;
    std::list<ready_node*> model;
    for (int i = 0; i < 20'000; ++i) {
        ready_node& n = nodes[random() % nodes.size()];
        switch (random() % 3) {
            case 0:
                if (!n.queued()) {
                    list.push(n);
                    model.push_back(&n);
                }
                break;
            case 1:
                if (n.queued()) {
                    list.remove(n);
                    model.remove(&n);
                    REQUIRE_FALSE(n.queued());
                }
                break;
            default:
                if (!model.empty()) {
                    ready_node& popped = list.pop();
                    REQUIRE(&popped == model.front());
                    REQUIRE_FALSE(popped.queued());
                    model.pop_front();
                }
        }
        REQUIRE(list.size() == model.size());
        REQUIRE(list.empty() == model.empty());
        REQUIRE(std::ranges::all_of(model, [](const ready_node* m) { return m->queued(); }));
    }
}

TEST_CASE("run_queue: runs in order, and in one turn only what was ready at its start") {
    run_queue queue(10);
    std::vector<int> order;
    std::list<entry> entries;
    for (int i = 0; i < 4; ++i)
        entries.emplace_back([&, i] {
            order.push_back(i);
            if (i == 0) queue.make_ready(entries.front().node);
        });
    for (entry& e : entries) queue.make_ready(e.node);
    CHECK(queue.size() == 4);
    CHECK(queue.run_turn(100) == 4);
    CHECK(order == std::vector{0, 1, 2, 3});
    CHECK(queue.size() == 1);
    queue.remove(entries.front().node);
    CHECK(queue.empty());
    CHECK(queue.run_turn(100) == 0);
}

TEST_CASE("run_queue: a turn is limited, the rest keeps its place") {
    run_queue queue(10);
    std::vector<int> order;
    std::list<entry> entries;
    for (int i = 0; i < 5; ++i) entries.emplace_back([&order, i] { order.push_back(i); });
    for (entry& e : entries) queue.make_ready(e.node);
    CHECK(queue.run_turn(2) == 2);
    CHECK(order == std::vector{0, 1});
    queue.make_ready(entries.front().node);
    CHECK(queue.run_turn(2) == 2);
    CHECK(queue.run_turn(2) == 2);
    CHECK(order == std::vector{0, 1, 2, 3, 4, 0});
    CHECK(queue.empty());
}

TEST_CASE("run_queue: a coroutine takes out one that would run after it") {
    run_queue queue(10);
    int ran = 0;
    entry victim([&] { ran += 100; });
    entry first([&] {
        ++ran;
        queue.remove(victim.node);
    });
    queue.make_ready(first.node);
    queue.make_ready(victim.node);
    queue.run_turn(10);
    CHECK(ran == 1);
    CHECK(queue.empty());
}

TEST_CASE("run_queue: each resume has the whole budget, and not more") {
    run_queue queue(3);
    std::vector<int> spent;
    auto spend_all = [&] {
        int n = 0;
        while (n < 100 && queue.spend()) ++n;
        spent.push_back(n);
    };
    entry a(spend_all);
    entry b(spend_all);
    for (int round = 0; round < 2; ++round) {
        queue.make_ready(a.node);
        queue.make_ready(b.node);
        queue.run_turn(10);
    }
    CHECK(spent == std::vector{3, 3, 3, 3});
}

TEST_CASE("run_queue: a budget of 0 lets nothing through") {
    run_queue queue(0);
    bool could = true;
    entry a([&] { could = queue.spend(); });
    queue.make_ready(a.node);
    queue.run_turn(1);
    CHECK_FALSE(could);
}

TEST_CASE("run_queue: who is continued runs before the next in the list, on the same budget") {
    run_queue queue(2);
    std::vector<int> order;
    bool could = true;
    entry grandparent([&] {
        order.push_back(3);
        could = queue.spend();
    });
    entry parent([&] {
        order.push_back(2);
        queue.continue_with(grandparent.node.handle());
        static_cast<void>(queue.spend());
    });
    entry child([&] {
        order.push_back(1);
        queue.continue_with(parent.node.handle());
        static_cast<void>(queue.spend());
    });
    entry next([&] { order.push_back(4); });
    queue.make_ready(child.node);
    queue.make_ready(next.node);
    CHECK(queue.run_turn(10) == 2);
    CHECK(order == std::vector{1, 2, 3, 4});
    CHECK_FALSE(could);
}
