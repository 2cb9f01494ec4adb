// SPDX-License-Identifier: Apache-2.0
#include "sluice/frame_pool.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(SLUICE_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace sluice::detail {

constinit thread_local frame_pool* frame_pool::current = nullptr;

namespace {
// One slab holds several blocks of its class, so that a burst costs few allocations.
constexpr std::size_t slab_bytes = 64 * 1024;
}  // namespace

#if defined(SLUICE_ASAN)
// A free frame is poisoned, so that the sanitizer sees uses after free in spite of the pool. The
// link of the free list is in the block itself and stays readable.
void frame_pool::poison(void* p, std::size_t index) noexcept {
    auto* bytes = static_cast<std::byte*>(p);
    __asan_poison_memory_region(bytes + sizeof(free_block),
                                (index + 1) * granule - sizeof(header) - sizeof(free_block));
}
void frame_pool::unpoison(void* p, std::size_t index) noexcept {
    __asan_unpoison_memory_region(p, (index + 1) * granule - sizeof(header));
}
#endif

void* frame_pool::allocate_slow(frame_pool* pool, std::size_t size) {
    auto* raw = static_cast<std::byte*>(std::malloc(size + sizeof(header)));
    if (raw == nullptr) throw std::bad_alloc{};
    new (raw)
        header{pool, malloced, static_cast<std::uint32_t>(std::min<std::size_t>(size, UINT32_MAX))};
    if (pool != nullptr) ++pool->live_;
    return raw + sizeof(header);
}

void frame_pool::deallocate_slow(void* p) noexcept {
    const header h = header_of(p);
    if (h.owner == nullptr || (h.index == malloced && h.owner == current)) {
        if (h.owner != nullptr) --h.owner->live_;
        std::free(&header_of(p));
        return;
    }
    // A foreign thread. After released() the pool may be gone, unless it said "last".
    frame_pool* owner = h.owner;
    if (h.index == malloced)
        std::free(&header_of(p));
    else
        owner->returns_.push(*new (p) home_node);
    if (owner->away_.released()) delete owner;
}

void* frame_pool::refill(std::size_t index) {
    const std::size_t block_bytes = (index + 1) * granule;
    const std::size_t count = slab_bytes / block_bytes;
    auto slab = std::make_unique_for_overwrite<std::byte[]>(slab_bytes + alignof(header));
    const auto misfit = reinterpret_cast<std::uintptr_t>(slab.get()) % alignof(header);
    std::byte* at = slab.get() + (misfit == 0 ? 0 : alignof(header) - misfit);
    slabs_.push_back(std::move(slab));
    reserved_ += slab_bytes;
    for (std::size_t i = 0; i < count; ++i, at += block_bytes) {
        new (at) header{this, static_cast<std::uint32_t>(index)};
        recycle(at + sizeof(header), index);
    }
    free_block* block = free_[index];
    unpoison(block, index);
    free_[index] = block->next;
    ++live_;
    --pooled_;
    return block;
}

std::size_t frame_pool::usable_bytes(const void* p) noexcept {
    const header& h = static_cast<const header*>(p)[-1];
    if (current == nullptr || h.owner != current) return 0;
    if (h.index == malloced) return h.malloced_bytes;
    return h.index < classes ? (h.index + 1) * granule - sizeof(header) : 0;
}

void frame_pool::take_returned() noexcept {
    for (home_node* n = returns_.take_all(); n != nullptr;) {
        home_node* next = n->next_home;
        recycle(n, header_of(n).index);
        n = next;
    }
}

void frame_pool::retire() noexcept {
    collect();
    if (current == this) current = nullptr;
    if (away_.owner_leaves(live_)) delete this;
}

}  // namespace sluice::detail
