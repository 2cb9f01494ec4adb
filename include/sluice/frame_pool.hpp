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

//! Size classes of 64 bytes up to 4 KiB, one free list each; larger blocks come from malloc. One
//! pool a reactor. A block may be freed on any thread: a foreign one sends it home. The pool
//! outlives its reactor until the last block is back.
class frame_pool {
public:
    static constexpr std::size_t granule = 64;
    static constexpr std::size_t largest = 20 * 1024;

    //! A pool belongs to the thread that makes it current.
    static frame_pool* create() { return new frame_pool; }

    //! Ends the owner's use: the pool goes when its last block has come back.
    void retire() noexcept;

    //! A block of the calling thread's pool, or of malloc where there is none. Throws bad_alloc.
    static void* allocate(std::size_t size) {
        frame_pool* pool = current;
        const std::size_t index = (size + sizeof(header) - 1) / granule;
        if (pool == nullptr || index >= classes) return allocate_slow(pool, size);
        free_block* block = pool->free_[index];
        if (block == nullptr) return pool->refill(index);
        unpoison(block, index);
        pool->free_[index] = block->next;
        ++pool->live_;
        --pool->pooled_;
        return block;
    }

    //! Gives back what allocate() returned, on any thread.
    static void deallocate(void* p) noexcept {
        const header& h = header_of(p);
        if (h.owner == nullptr || h.owner != current || h.index >= classes) {
            deallocate_slow(p);
            return;
        }
        --h.owner->live_;
        h.owner->recycle(p, h.index);
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
    static constexpr std::size_t classes = largest / granule;
    static constexpr std::uint32_t malloced = UINT32_MAX;

    struct alignas(16) header {
        frame_pool* owner;
        std::uint32_t index;
        std::uint32_t malloced_bytes = 0;
    };
    struct free_block {
        free_block* next;
    };

    frame_pool() = default;
    ~frame_pool() = default;

    static header& header_of(void* p) noexcept { return static_cast<header*>(p)[-1]; }
    static void* allocate_slow(frame_pool* pool, std::size_t size);
    static void deallocate_slow(void* p) noexcept;
    void* refill(std::size_t index);
    void take_returned() noexcept;
    void recycle(void* p, std::size_t index) noexcept {
        auto* block = static_cast<free_block*>(p);
        block->next = free_[index];
        free_[index] = block;
        ++pooled_;
        poison(p, index);
    }
    static void poison(void* p, std::size_t index) noexcept;
    static void unpoison(void* p, std::size_t index) noexcept;

    std::array<free_block*, classes> free_{};
    std::vector<std::unique_ptr<std::byte[]>> slabs_;
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
inline void frame_pool::poison(void*, std::size_t) noexcept {}
inline void frame_pool::unpoison(void*, std::size_t) noexcept {}
#endif

}  // namespace sluice::detail
