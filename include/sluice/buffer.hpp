// SPDX-License-Identifier: Apache-2.0
//! Received bytes: rx_buffer, and the interface behind it that every source of buffers fills.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>

#include "sluice/frame_pool.hpp"
#include "sluice/home_list.hpp"

namespace sluice {
namespace detail {

class buffer_source;

//! What other threads than the source's have changed in the number of a block's handles since that
//! was last added up, and whether the block is on its way home. One word, because they change
//! together: a block that is counted down but not on its way would never be seen again.
class away_handles {
public:
    void acquired() noexcept { word_.fetch_add(one, std::memory_order_relaxed); }
    //! One has ended, and the block goes home. True: the caller is to send it.
    [[nodiscard]] bool released() noexcept {
        std::int32_t before = word_.load(std::memory_order_relaxed);
        while (!word_.compare_exchange_weak(before, (before - one) | going,
                                            std::memory_order_acq_rel, std::memory_order_relaxed)) {
        }
        return (before & going) == 0;
    }

    // By the source's own thread.

    //! The block has come home: the change, which is 0 from now on.
    [[nodiscard]] std::int32_t arrived() noexcept {
        return word_.exchange(0, std::memory_order_acq_rel) >> 1;
    }
    //! Whether of a block with so many handles at home there is none at all, nor one on its way.
    [[nodiscard]] bool none_beside(std::int32_t at_home) const noexcept {
        return word_.load(std::memory_order_acquire) == -at_home * one;
    }
    //! The same, and then the change is 0 too. Another thread may make a handle meanwhile.
    [[nodiscard]] bool cancels(std::int32_t at_home) noexcept {
        if (at_home == 0) return none_beside(0);
        std::int32_t opposite = -at_home * one;
        return word_.compare_exchange_strong(opposite, 0, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    //! For blocks without a home, all of whose handles are counted here. True: it was the last one.
    [[nodiscard]] bool released_last() noexcept {
        return word_.fetch_sub(one, std::memory_order_acq_rel) == one;
    }

private:
    static constexpr std::int32_t going = 1;
    static constexpr std::int32_t one = 2;
    std::atomic<std::int32_t> word_{0};
};

//! A piece of a source's memory that is lent and given back as a whole; slices count it. Blocks of
//! the heap have no source and free themselves.
struct buffer_block : home_node {
    buffer_source* source = nullptr;
    std::int32_t handles = 0;  // by the count of the source's own thread
    away_handles away;
};

//! Memory that rings may register as one of their fixed buffers, all of it: io_uring_register(2),
//! IORING_REGISTER_BUFFERS2. The source shares it with them, because any reactor may send from it.
class fixed_region {
public:
    explicit fixed_region(std::span<std::byte> memory) noexcept : memory_(memory) {}
    [[nodiscard]] std::span<std::byte> memory() const noexcept { return memory_; }

    //! The source is about to unmap the memory; rings give it up when they next register some. From
    //! any thread.
    void retire() noexcept { gone_.store(true, std::memory_order_release); }
    [[nodiscard]] bool gone() const noexcept { return gone_.load(std::memory_order_acquire); }

private:
    std::span<std::byte> memory_;
    std::atomic<bool> gone_{false};
};

//! Where blocks come from and go back to: a provided-buffer ring, an area. Belongs to one reactor;
//! lives until its last block is back, if need be longer than the reactor.
class buffer_source {
public:
    buffer_source(const buffer_source&) = delete;
    buffer_source& operator=(const buffer_source&) = delete;

    void acquire(buffer_block& b) noexcept {
        if (at_home()) {
            ++b.handles;
            ++lent_;
        } else {
            b.away.acquired();
            away_.acquired();
        }
    }
    void release(buffer_block& b) noexcept {
        if (at_home()) {
            --lent_;
            if (--b.handles <= 0) settle(b);
        } else {
            release_away(b);
        }
    }

    //! The region that holds all of the block; null, as here, when there is none and each send has
    //! its pages looked up anew. On any thread that has a handle of the block.
    [[nodiscard]] virtual const std::shared_ptr<fixed_region>& region_of(
        const buffer_block& b) const noexcept;

    //! Handles alive, on all threads.
    [[nodiscard]] std::int64_t lent() const noexcept { return lent_ + away_.difference(); }

    //! Blocks in all, and of those the ones that the kernel has or can have.
    [[nodiscard]] std::uint32_t capacity() const noexcept {
        return capacity_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint32_t available() const noexcept {
        return available_.load(std::memory_order_relaxed);
    }
    //! Fewer than a quarter are left.
    [[nodiscard]] bool running_short() const noexcept { return available() < capacity() / 4; }

protected:
    buffer_source() noexcept : home_(frame_pool::current) {}
    virtual ~buffer_source() = default;

    //! No handle of the block is left; called on the source's own thread.
    virtual void recycle(buffer_block& b) noexcept = 0;

    //! Ends the reactor's sleep; called on foreign threads, under a lock, and never after retire().
    virtual void wake_home() noexcept = 0;

    //! From now on the first block that comes home from another thread wakes the reactor. What came
    //! before is found by collect_returns(), to be called afterwards.
    void want_returns() noexcept { wanted_.exchange(true, std::memory_order_seq_cst); }

    //! Takes in the blocks whose handles ended on other threads; returns how many came home.
    std::size_t collect_returns() noexcept { return returns_.empty() ? 0 : take_returned(); }

    //! Recycles a block whose own count has come down to 0, when no handle is left elsewhere and it
    //! is not on its way home.
    bool settle(buffer_block& b) noexcept;

    //! The reactor leaves. The source deletes itself, at once or with its last handle.
    void retire() noexcept;

    //! The reactor leaves, and the one with the frame pool `new_home` keeps the source from now on.
    //! The last thing the old one does to it.
    void hand_over(const void* new_home) noexcept;

    // A source of one reactor counts them without atomic operations.
    void set_capacity(std::uint32_t blocks) noexcept {
        capacity_.store(blocks, std::memory_order_relaxed);
    }
    void set_available(std::uint32_t blocks) noexcept {
        available_.store(blocks, std::memory_order_relaxed);
    }
    std::atomic<std::uint32_t>& shared_available() noexcept { return available_; }

private:
    [[nodiscard]] bool at_home() const noexcept {
        return home_.load(std::memory_order_acquire) == frame_pool::current;
    }
    void release_away(buffer_block& b) noexcept;
    std::size_t take_returned() noexcept;

    std::atomic<const void*> home_;  // stands for the thread; of nobody once the reactor left
    std::int64_t lent_ = 0;
    std::atomic<std::uint32_t> capacity_{0};
    std::atomic<std::uint32_t> available_{0};
    home_list returns_;
    std::atomic<bool> wanted_{false};
    std::mutex wake_mutex_;  // between wake_home() and retire(); taken only when blocks are wanted
    away_count away_;
};

//! Heap blocks, counted by their atomic alone.
void release_heap_block(buffer_block& b) noexcept;

}  // namespace detail

//! A slice of received memory. Move-only; while it lives, its bytes stay where they are and the
//! memory is not given back. It may be moved to other threads and die there, also after its
//! reactor has gone. 24 bytes.
class rx_buffer {
public:
    rx_buffer() = default;
    rx_buffer(rx_buffer&& o) noexcept
        : data_(std::exchange(o.data_, nullptr)),
          block_(std::exchange(o.block_, nullptr)),
          size_(std::exchange(o.size_, 0)) {}
    rx_buffer& operator=(rx_buffer&& o) noexcept {
        if (this != &o) {
            reset();
            data_ = std::exchange(o.data_, nullptr);
            block_ = std::exchange(o.block_, nullptr);
            size_ = std::exchange(o.size_, 0);
        }
        return *this;
    }
    ~rx_buffer() { reset(); }

    [[nodiscard]] const std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::string_view text() const noexcept {
        return {reinterpret_cast<const char*>(data_), size_};
    }

    //! Another handle of the same bytes.
    [[nodiscard]] rx_buffer share() const noexcept { return slice(0, size_); }

    //! A handle of `count` bytes from `offset`, both cut to what there is.
    [[nodiscard]] rx_buffer slice(std::size_t offset, std::size_t count) const noexcept;

    //! Cuts off the first `count` bytes (at most all) and returns them.
    [[nodiscard]] rx_buffer split(std::size_t count) noexcept;

    //! The same bytes in heap memory of their own. Throws bad_alloc.
    [[nodiscard]] rx_buffer copy() const { return copy_of(bytes()); }
    [[nodiscard]] static rx_buffer copy_of(std::span<const std::byte> bytes);

    //! For whoever means to keep the bytes for long: when its source is short of memory, the bytes
    //! move to the heap, and data() with them; else nothing happens. Throws bad_alloc, unchanged.
    void retain() {
        if (block_ != nullptr && block_->source != nullptr && block_->source->running_short())
            *this = copy();
    }

    //! Gives the memory back before the end of the scope.
    void reset() noexcept {
        if (block_ == nullptr) return;
        detail::buffer_block& b = *std::exchange(block_, nullptr);
        data_ = nullptr;
        size_ = 0;
        if (b.source != nullptr)
            b.source->release(b);
        else
            detail::release_heap_block(b);
    }

    // For sources.

    //! Heap memory of `size` bytes, to be filled through fill(). Throws bad_alloc.
    static rx_buffer of_heap(std::size_t size);
    [[nodiscard]] std::byte* fill() noexcept { return data_; }

    //! Adopts `size` bytes of a block. Counts a new handle.
    static rx_buffer lend(detail::buffer_block& b, std::byte* data, std::uint32_t size) noexcept {
        b.source->acquire(b);
        return rx_buffer{data, &b, size};
    }

    //! Joins `next` to this one if it lies right behind it in the same block; false if not.
    bool join(rx_buffer& next) noexcept {
        if (next.block_ != block_ || data_ + size_ != next.data_) return false;
        size_ += next.size_;
        next.reset();
        return true;
    }

    [[nodiscard]] const detail::buffer_block* block() const noexcept { return block_; }

private:
    rx_buffer(std::byte* data, detail::buffer_block* block, std::uint32_t size) noexcept
        : data_(data), block_(block), size_(size) {}

    std::byte* data_ = nullptr;
    detail::buffer_block* block_ = nullptr;
    std::uint32_t size_ = 0;
};

static_assert(sizeof(rx_buffer) <= 32);

}  // namespace sluice
