// SPDX-License-Identifier: Apache-2.0
#include "sluice/frame_pool.hpp"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <new>

#if defined(SLUICE_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace sluice::detail {

constinit thread_local frame_pool* frame_pool::current = nullptr;
constinit frame_pool::size_class frame_pool::of_no_pool;

namespace {
// All classes take from one slab, a few blocks at a time: a burst costs few allocations, and a size
// that is rare keeps little.
constexpr std::size_t slab_bytes = 64 * 1024;
constexpr std::size_t run_bytes = 4 * 1024;

constexpr std::size_t alignment = 16;  // of what is handed out
}  // namespace

frame_pool::frame_pool() noexcept {
    for (std::size_t i = 0; i < classes; ++i)
        classes_[i] = {this, nullptr, static_cast<std::uint32_t>(bytes_of_class(i)), true};
    malloced_.owner = this;
}

#if defined(SLUICE_ASAN)
// A free frame is poisoned, so that the sanitizer sees uses after free in spite of the pool. The
// link of the free list is in the block itself and stays readable.
void frame_pool::poison(void* p, const size_class& c) noexcept {
    auto* bytes = static_cast<std::byte*>(p);
    __asan_poison_memory_region(bytes + sizeof(free_block),
                                c.bytes - sizeof(home_word) - sizeof(free_block));
}
void frame_pool::unpoison(void* p, const size_class& c) noexcept {
    __asan_unpoison_memory_region(p, c.bytes - sizeof(home_word));
}
#endif

void* frame_pool::allocate_slow(frame_pool* pool, std::size_t size) {
    static_assert(sizeof(malloc_header) == alignment);
    auto* raw = static_cast<std::byte*>(std::malloc(size + sizeof(malloc_header)));
    if (raw == nullptr) throw std::bad_alloc{};
    new (raw) malloc_header{size, pool != nullptr ? &pool->malloced_ : &of_no_pool};
    if (pool != nullptr) ++pool->live_;
    return raw + sizeof(malloc_header);
}

void frame_pool::deallocate_slow(void* p) noexcept {
    const bool kept = class_of(p).kept;
    frame_pool* owner = class_of(p).owner;
    if (!kept) std::free(static_cast<malloc_header*>(p) - 1);
    if (owner == nullptr) return;
    if (owner == current) {
        --owner->live_;
        return;
    }
    // A foreign thread. After released() the pool may be gone, unless it said "last".
    if (kept) owner->returns_.push(*new (p) home_node);
    if (owner->away_.released()) delete owner;
}

// Throws bad_alloc.
void frame_pool::add_slab() {
    auto slab = std::make_unique_for_overwrite<std::byte[]>(slab_bytes + alignment);
    // The word comes before an aligned address.
    std::byte* word = slab.get() + alignment - sizeof(home_word);
    word -= reinterpret_cast<std::uintptr_t>(slab.get()) % alignment;
    slabs_.push_back(std::move(slab));
    reserved_ += slab_bytes;
    unused_ = word;
    unused_bytes_ = slab_bytes;
}

void* frame_pool::refill(size_class& c) {
    if (unused_bytes_ < c.bytes) add_slab();
    std::size_t bytes = std::min(std::max<std::size_t>(run_bytes, c.bytes), unused_bytes_);
    for (; bytes >= c.bytes; bytes -= c.bytes) {
        new (unused_) home_word{&c};
        recycle(unused_ + sizeof(home_word), c);
        unused_ += c.bytes;
        unused_bytes_ -= c.bytes;
    }
    free_block* block = c.free;
    hand_out(*block, c);
    return block;
}

std::size_t frame_pool::usable_bytes(const void* p) noexcept {
    if (current == nullptr) return 0;
    // Only compared before it is known to be a class of ours.
    const size_class* home = static_cast<const home_word*>(p)[-1];
    if (home == &current->malloced_) return static_cast<const malloc_header*>(p)[-1].bytes;
    const auto& all = current->classes_;
    const bool ours = std::less_equal<>{}(all.data(), home) && std::less<>{}(home, &all.back() + 1);
    return ours ? home->bytes - sizeof(home_word) : 0;
}

void frame_pool::take_returned() noexcept {
    for (home_node* n = returns_.take_all(); n != nullptr;) {
        home_node* next = n->next_home;
        recycle(n, class_of(n));
        n = next;
    }
}

void frame_pool::retire() noexcept {
    collect();
    if (current == this) current = nullptr;
    if (away_.owner_leaves(live_)) delete this;
}

}  // namespace sluice::detail
