// SPDX-License-Identifier: Apache-2.0
#include "sluice/frame_pool.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "support/allocation_count.hpp"
#include "support/sanitizers.hpp"
#include "support/skip.hpp"

#if defined(SLUICE_TESTS_ASAN)
#include <sanitizer/asan_interface.h>
#endif

using sluice::detail::frame_pool;
using sluice::testing::allocations;
using sluice::testing::allocations_are_counted;
using sluice::testing::live_allocations;
using sluice::testing::report_skip;
using sluice::testing::why_not_counted;

namespace {

//! A pool that is the calling thread's current one until it is retired.
class current_pool {
public:
    current_pool() : pool_(frame_pool::create()) { frame_pool::current = pool_; }
    ~current_pool() {
        if (pool_ != nullptr) retire();
    }
    current_pool(const current_pool&) = delete;
    current_pool& operator=(const current_pool&) = delete;

    void retire() {
        pool_->retire();
        pool_ = nullptr;
    }
    frame_pool* operator->() const { return pool_; }

private:
    frame_pool* pool_;
};

void free_elsewhere(void* p) {
    std::thread([p] { frame_pool::deallocate(p); }).join();
}

}  // namespace

TEST_CASE("frame_pool: a freed block is the next of its class, without an allocation") {
    current_pool pool;
    void* first = frame_pool::allocate(100);
    CHECK(pool->live() == 1);
    CHECK(pool->pooled() > 0);
    const auto pooled = pool->pooled();
    frame_pool::deallocate(first);
    CHECK(pool->live() == 0);
    CHECK(pool->pooled() == pooled + 1);

    const auto before = allocations();
    void* second = frame_pool::allocate(90);  // 89 to 104 bytes are one class
    CHECK(allocations() == before);
    CHECK(second == first);
    CHECK(pool->live() == 1);
    frame_pool::deallocate(second);
}

TEST_CASE("frame_pool: blocks of every size are whole, aligned and disjoint") {
    current_pool pool;
    struct block {
        unsigned char* at;
        std::size_t size;
    };
    std::vector<block> blocks;
    for (std::size_t size = 0; size <= frame_pool::largest + 200; ++size) {
        auto* at = static_cast<unsigned char*>(frame_pool::allocate(size));
        REQUIRE(reinterpret_cast<std::uintptr_t>(at) % alignof(std::max_align_t) == 0);
        std::memset(at, static_cast<int>(size & 0xff), size);
        blocks.push_back({at, size});
    }
    CHECK(pool->live() == static_cast<std::int64_t>(blocks.size()));
    for (const block& b : blocks)
        REQUIRE(std::all_of(b.at, b.at + b.size,
                            [&](unsigned char c) { return c == (b.size & 0xff); }));
    for (const block& b : blocks) frame_pool::deallocate(b.at);
    CHECK(pool->live() == 0);
}

TEST_CASE("frame_pool: big blocks are not kept") {
    current_pool pool;
    const auto reserved = pool->reserved_bytes();
    void* big = frame_pool::allocate(frame_pool::largest + 1);
    CHECK(pool->live() == 1);
    CHECK(pool->reserved_bytes() == reserved);
    frame_pool::deallocate(big);
    CHECK(pool->live() == 0);
    CHECK(pool->pooled() == 0);
}

TEST_CASE("frame_pool: memory is reserved for what is in use at once, not for what passes") {
    current_pool pool;
    std::vector<void*> burst;
    for (int i = 0; i < 500; ++i) burst.push_back(frame_pool::allocate(200));
    for (void* p : burst) frame_pool::deallocate(p);
    const auto reserved = pool->reserved_bytes();
    CHECK(reserved >= 500 * 200);
    for (void*& p : burst) p = nullptr;
    std::mt19937 random(3);
    for (int i = 0; i < 100'000; ++i) {
        void*& p = burst[random() % burst.size()];
        if (p == nullptr) {
            p = frame_pool::allocate(200);
        } else {
            frame_pool::deallocate(p);
            p = nullptr;
        }
    }
    for (void* p : burst)
        if (p != nullptr) frame_pool::deallocate(p);
    CHECK(pool->reserved_bytes() == reserved);
    CHECK(pool->live() == 0);
}

TEST_CASE("frame_pool: without a pool blocks come from malloc and need none to be freed") {
    REQUIRE(frame_pool::current == nullptr);
    void* a = frame_pool::allocate(100);
    std::memset(a, 1, 100);
    void* b = frame_pool::allocate(100);
    frame_pool::deallocate(a);
    {
        current_pool pool;
        frame_pool::deallocate(b);
        CHECK(pool->live() == 0);
        CHECK(pool->pooled() == 0);
    }
}

TEST_CASE("frame_pool: a block freed on another thread comes home at collect()") {
    current_pool pool;
    void* block = frame_pool::allocate(100);
    void* big = frame_pool::allocate(30'000);
    const auto pooled = pool->pooled();
    free_elsewhere(block);
    free_elsewhere(big);
    CHECK(pool->live() == 0);
    CHECK(pool->pooled() == pooled);
    pool->collect();
    CHECK(pool->pooled() == pooled + 1);
    CHECK(pool->live() == 0);
    CHECK(frame_pool::allocate(100) == block);
    frame_pool::deallocate(block);
}

TEST_CASE("frame_pool: a block freed on a thread with a pool of its own goes to its own home") {
    current_pool pool;
    void* block = frame_pool::allocate(100);
    void* big = frame_pool::allocate(30'000);
    const auto pooled = pool->pooled();
    std::thread([&] {
        current_pool other;
        frame_pool::deallocate(block);
        frame_pool::deallocate(big);
        CHECK(other->live() == 0);
        CHECK(other->pooled() == 0);
    }).join();
    pool->collect();
    CHECK(pool->live() == 0);
    CHECK(pool->pooled() == pooled + 1);
}

TEST_CASE("frame_pool: it goes when it is retired and nothing is lent") {
    if (!allocations_are_counted) return report_skip(why_not_counted);
    const auto before = live_allocations();
    current_pool pool;
    frame_pool::deallocate(frame_pool::allocate(100));
    CHECK(live_allocations() > before);
    pool.retire();
    CHECK(frame_pool::current == nullptr);
    CHECK(live_allocations() == before);
}

TEST_CASE("frame_pool: it outlives retire() until the last block is back") {
    if (!allocations_are_counted) return report_skip(why_not_counted);
    for (const bool last_elsewhere : {false, true}) {
        CAPTURE(last_elsewhere);
        current_pool pool;
        std::vector<void*> blocks;
        for (int i = 0; i < 5; ++i) blocks.push_back(frame_pool::allocate(100));
        blocks.push_back(frame_pool::allocate(30'000));
        free_elsewhere(blocks.back());  // before, after, big and small: all ways
        blocks.pop_back();
        free_elsewhere(blocks.back());
        blocks.pop_back();
        blocks.push_back(frame_pool::allocate(60'000));
        pool.retire();
        const auto with_pool = live_allocations();
        while (!blocks.empty()) {
            CHECK(live_allocations() == with_pool);
            std::memset(blocks.back(), 1, 100);  // still there
            if (last_elsewhere)
                free_elsewhere(blocks.back());
            else
                frame_pool::deallocate(blocks.back());
            blocks.pop_back();
        }
        // The pool, its list of slabs and the slab.
        CHECK(live_allocations() == with_pool - 3);
    }
}

TEST_CASE("frame_pool: threads free what the owner allocates, while it retires") {
    const auto before = live_allocations();
    for (int round = 0; round < 20; ++round) {
        constexpr std::size_t threads = 3;
        constexpr std::size_t count = 300;
        std::vector<std::vector<void*>> blocks(threads);
        current_pool pool;
        for (std::size_t i = 0; i < threads * count; ++i)
            blocks[i % threads].push_back(frame_pool::allocate(i % 7 == 0 ? 5'000 : 64 + i % 200));
        std::atomic<bool> go{false};
        std::vector<std::thread> workers;
        for (auto& mine : blocks)
            workers.emplace_back([&go, &mine] {
                while (!go.load()) std::this_thread::yield();
                for (void* p : mine) frame_pool::deallocate(p);
            });
        go = true;
        for (int i = 0; i < 100; ++i) {
            pool->collect();
            frame_pool::deallocate(frame_pool::allocate(100));
        }
        pool.retire();
        for (auto& w : workers) w.join();
    }
    CHECK(live_allocations() == before);
}

#if defined(SLUICE_TESTS_ASAN)
TEST_CASE("frame_pool: AddressSanitizer sees a use of a freed block") {
    current_pool pool;
    constexpr std::size_t size = 200;
    auto* block = static_cast<char*>(frame_pool::allocate(size));
    for (std::size_t i = 0; i < size; ++i) REQUIRE(__asan_address_is_poisoned(block + i) == 0);
    frame_pool::deallocate(block);
    // The first word is the free list's.
    for (std::size_t i = sizeof(void*); i < size; ++i)
        REQUIRE(__asan_address_is_poisoned(block + i) != 0);
    REQUIRE(frame_pool::allocate(size) == block);
    for (std::size_t i = 0; i < size; ++i) REQUIRE(__asan_address_is_poisoned(block + i) == 0);
    free_elsewhere(block);
    pool->collect();
    CHECK(__asan_address_is_poisoned(block + sizeof(void*)) != 0);
}
#endif
