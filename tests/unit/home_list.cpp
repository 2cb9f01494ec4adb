// SPDX-License-Identifier: Apache-2.0
#include "sluice/home_list.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

using sluice::detail::away_count;
using sluice::detail::home_list;
using sluice::detail::home_node;

namespace {
struct item : home_node {
    int value = 0;  // written by the producer, read by the owner
};
}  // namespace

TEST_CASE("home_list: push says whether the list was empty") {
    home_list list;
    item a;
    item b;
    CHECK(list.empty());
    CHECK(list.take_all() == nullptr);
    CHECK(list.push(a));
    CHECK_FALSE(list.empty());
    CHECK_FALSE(list.push(b));
    home_node* first = list.take_all();
    REQUIRE(first != nullptr);
    REQUIRE(first->next_home != nullptr);
    CHECK(first->next_home->next_home == nullptr);
    CHECK(list.empty());
    CHECK(list.push(a));
    CHECK(list.take_all() == &a);
    CHECK(a.next_home == nullptr);
}

TEST_CASE("home_list: what several threads push arrives once each, with its contents") {
    constexpr int threads = 4;
    constexpr int each = 20'000;
    home_list list;
    std::vector<std::vector<item>> items(threads);
    for (auto& v : items) v.resize(each);
    std::atomic<int> first_pushes{0};
    std::vector<std::thread> producers;
    for (auto& mine : items)
        producers.emplace_back([&list, &mine, &first_pushes] {
            int value = 0;
            for (item& i : mine) {
                i.value = ++value;
                if (list.push(i)) first_pushes.fetch_add(1, std::memory_order_relaxed);
            }
        });
    std::int64_t sum = 0;
    int taken = 0;
    int batches = 0;
    while (taken < threads * each) {
        home_node* n = list.take_all();
        if (n == nullptr) {
            std::this_thread::yield();
            continue;
        }
        ++batches;
        for (; n != nullptr; ++taken) {
            home_node* next = n->next_home;
            sum += static_cast<item*>(n)->value;
            static_cast<item*>(n)->value = 0;
            n = next;
        }
    }
    for (auto& p : producers) p.join();
    CHECK(list.empty());
    CHECK(taken == threads * each);
    CHECK(sum == std::int64_t{threads} * each * (each + 1) / 2);
    // Each batch was announced by exactly one push: no wake-up lost, none too many.
    CHECK(first_pushes.load() == batches);
}

TEST_CASE("away_count: who is last is told so, exactly once") {
    for (int round = 0; round < 200; ++round) {
        constexpr int threads = 3;
        constexpr int each = 20;
        away_count count;
        std::atomic<int> last{0};
        std::atomic<bool> go{false};
        std::vector<std::thread> workers;
        for (int t = 0; t < threads; ++t)
            workers.emplace_back([&] {
                while (!go.load()) std::this_thread::yield();
                for (int i = 0; i < each; ++i) {
                    count.acquired();  // a second handle on what is away already
                    last += count.released() ? 1 : 0;
                    last += count.released() ? 1 : 0;
                }
            });
        go = true;
        last += count.owner_leaves(threads * each) ? 1 : 0;
        for (auto& w : workers) w.join();
        REQUIRE(last.load() == 1);
    }
}

TEST_CASE("away_count: without anything away the owner is the last") {
    away_count none;
    CHECK(none.owner_leaves(0));

    away_count returned;
    CHECK(returned.difference() == 0);
    CHECK_FALSE(returned.released());
    returned.acquired();
    CHECK_FALSE(returned.released());
    CHECK(returned.difference() == -1);
    CHECK(returned.owner_leaves(1));

    away_count one;
    CHECK_FALSE(one.owner_leaves(1));
    CHECK(one.released());
}
