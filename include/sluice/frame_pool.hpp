// SPDX-License-Identifier: Apache-2.0
//! Memory for coroutine frames and other small objects of a reactor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "sluice/home_list.hpp"

namespace sluice::detail {

//! Size classes of 16 bytes up to 1 KiB, since connections and their coroutines are many and small,
//! and of 64 bytes from there to 20 KiB, each with a free list; larger blocks come from malloc. A
//! block has a word before it, which says where it belongs. One pool a reactor. A block may be
//! freed on any thread: a foreign one sends it home. The pool outlives its reactor until the last
//! block is back.
class frame_pool {
public:
    static constexpr std::size_t largest = 20 * 1024;

    //! A pool belongs to the thread that makes it current.
    static frame_pool* create() { return new frame_pool; }

    //! Ends the owner's use: the pool goes when its last block has come back.
    void retire() noexcept;

    //! A block of the calling thread's pool, or of malloc where there is none. Throws bad_alloc.
    static void* allocate(std::size_t size) {
        frame_pool* pool = current;
        const std::size_t index = class_of_size(size);
        if (pool == nullptr || index >= classes) return allocate_slow(pool, size);
        size_class& c = pool->classes_[index];
        free_block* block = c.free;
        if (block == nullptr) return pool->refill(c);
        pool->hand_out(*block, c);
        return block;
    }

    //! Gives back what allocate() returned, on any thread.
    static void deallocate(void* p) noexcept {
        size_class& c = class_of(p);
        if (c.owner != current || !c.kept) {
            deallocate_slow(p);
            return;
        }
        --c.owner->live_;
        c.owner->recycle(p, c);
    }

    //! Takes in what other threads have sent home. Called by the owner once a turn.
    void collect() noexcept {
        if (!returns_.empty()) take_returned();
    }

    //! The bytes of a block that allocate() of the calling thread's pool has returned at `p`; 0 for
    //! anything else, and for what has no 16 readable bytes before it nothing is defined.
    [[nodiscard]] static std::size_t usable_bytes(const void* p) noexcept;

    [[nodiscard]] std::int64_t live() const noexcept { return live_ + away_.difference(); }
    [[nodiscard]] std::size_t pooled() const noexcept { return pooled_; }
    [[nodiscard]] std::size_t reserved_bytes() const noexcept { return reserved_; }

    //! The pool of the calling thread's reactor.
    static constinit thread_local frame_pool* current;

private:
    struct free_block {
        free_block* next;
    };
    //! Blocks of one size, the word included; or those that malloc has made, and free() gets back.
    struct size_class {
        frame_pool* owner = nullptr;
        free_block* free = nullptr;
        std::uint32_t bytes = 0;
        bool kept = false;
    };
    using home_word = size_class*;  // before each block
    //! Before a block that malloc has made.
    struct malloc_header {
        std::size_t bytes;
        home_word home;
    };

    static constexpr std::size_t granule = 16;
    static constexpr std::size_t fine_below = 1024;
    static constexpr std::size_t coarse = 64;
    static constexpr std::size_t first_coarse = fine_below / granule - fine_below / coarse;
    static constexpr std::size_t classes = first_coarse + largest / coarse;

    static constexpr std::size_t class_of_size(std::size_t size) noexcept {
        const std::size_t last_byte = size + sizeof(home_word) - 1;
        return last_byte < fine_below ? last_byte / granule : first_coarse + last_byte / coarse;
    }
    static constexpr std::size_t bytes_of_class(std::size_t index) noexcept {
        return index < fine_below / granule ? (index + 1) * granule
                                            : (index - first_coarse + 1) * coarse;
    }

    frame_pool() noexcept;
    ~frame_pool() = default;

    static size_class& class_of(void* p) noexcept { return *static_cast<home_word*>(p)[-1]; }
    static void* allocate_slow(frame_pool* pool, std::size_t size);
    static void deallocate_slow(void* p) noexcept;
    void* refill(size_class& c);
    void add_slab();
    void take_returned() noexcept;
    void hand_out(free_block& block, size_class& c) noexcept {
        unpoison(&block, c);
        c.free = block.next;
        ++live_;
        --pooled_;
    }
    void recycle(void* p, size_class& c) noexcept {
        auto* block = static_cast<free_block*>(p);
        block->next = c.free;
        c.free = block;
        ++pooled_;
        poison(p, c);
    }
    static void poison(void* p, const size_class& c) noexcept;
    static void unpoison(void* p, const size_class& c) noexcept;

    static size_class of_no_pool;
    std::array<size_class, classes> classes_;
    size_class malloced_;
    std::vector<std::unique_ptr<std::byte[]>> slabs_;
    std::byte* unused_ = nullptr;  // of the last slab: where the next block's word goes
    std::size_t unused_bytes_ = 0;
    std::int64_t live_ = 0;  // allocated here less freed here; away_ holds the rest
    std::size_t pooled_ = 0;
    std::size_t reserved_ = 0;
    home_list returns_;
    away_count away_;
};

#if defined(__SANITIZE_ADDRESS__)
#define SLUICE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLUICE_ASAN 1
#endif
#endif

#if !defined(SLUICE_ASAN)
inline void frame_pool::poison(void*, const size_class&) noexcept {}
inline void frame_pool::unpoison(void*, const size_class&) noexcept {}
#endif

}  // namespace sluice::detail
