// SPDX-License-Identifier: Apache-2.0
//! The memory that an rx queue receives into, and what is known of each of its chunks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "runtime/kernel/pages.hpp"
#include "sluice/buffer.hpp"
#include "sluice/frame_pool.hpp"
#include "sluice/home_list.hpp"
#include "sluice/result.hpp"

namespace sluice::detail {

//! Who is charged for the chunks that a connection's bytes are in. Lives until the connection and
//! its last chunk have gone, on whatever thread that is: not from the reactor's pool, which is to
//! be empty when the reactor ends.
class lease_account {
public:
    //! By the connection's reactor. Throws bad_alloc.
    static lease_account& open() { return *new lease_account; }
    //! The connection has gone; by the same reactor.
    void close() noexcept {
        closed_ = true;
        if (away_.owner_leaves(charged_)) delete this;
    }

    //! By the connection's reactor, while it is open.
    void charge() noexcept { ++charged_; }
    //! By the producer of the queue that the chunk is of.
    void release() noexcept {
        if (frame_pool::current == home_ && !closed_)
            --charged_;
        else if (away_.released())
            delete this;
    }

    //! Chunks that are charged to it now; by the connection's reactor.
    [[nodiscard]] std::uint32_t held() const noexcept {
        return static_cast<std::uint32_t>(charged_ + away_.difference());
    }

private:
    lease_account() = default;
    const void* const home_ = frame_pool::current;
    std::int64_t charged_ = 0;  // without what other reactors have released
    away_count away_;
    bool closed_ = false;
};

//! A chunk, the kernel's "niov". Every data CQE that names it is a token; all tokens go back when
//! no handle is left.
struct chunk final : buffer_block {
    std::atomic<std::uint32_t> tokens{0};  // delivered and not written to the refill queue
    bool returning = false;                // in the list of those that are to be written there
    chunk* next_returning = nullptr;
    std::atomic<lease_account*> account{nullptr};  // of whoever got its first token
    std::uint64_t offset = 0;                      // what the kernel calls it: area and place

    //! Whether there are handles, or news of handles on their way home. By the producer.
    [[nodiscard]] bool in_use() const noexcept { return !away.none_beside(handles); }
};

class area {
public:
    //! Maps memory for at least `bytes`, or the options' dma-buf, cut into chunks of `chunk_bytes`
    //! (a power of two).
    static result<std::unique_ptr<area>> map(std::size_t bytes, std::uint32_t chunk_bytes,
                                             const zcrx_options& options, buffer_source& source);

    //! The kernel's name for it in offsets; told after registration.
    void name(std::uint64_t token) noexcept;

    ~area();
    area(const area&) = delete;
    area& operator=(const area&) = delete;

    [[nodiscard]] std::uint32_t chunks() const noexcept { return count_; }
    [[nodiscard]] const mapped_pages& memory() const noexcept { return memory_; }
    //! For rings that send from it.
    [[nodiscard]] const std::shared_ptr<fixed_region>& region() const noexcept { return region_; }
    [[nodiscard]] chunk& at(std::uint32_t index) noexcept { return chunks_[index]; }
    [[nodiscard]] std::byte* data(std::size_t offset) const noexcept {
        return memory_.data() + offset;
    }
    //! Whether `block`, which may be any bits, is one of its chunks with `data` in it, and lent.
    [[nodiscard]] bool lends(const void* data, const void* block) const noexcept;

private:
    area(mapped_pages pages, std::uint32_t chunk_bytes, buffer_source& source);

    mapped_pages memory_;
    std::shared_ptr<fixed_region> region_;  // all of memory_
    std::uint32_t chunk_bytes_;
    std::uint32_t count_;
    std::unique_ptr<chunk[]> chunks_;
};

}  // namespace sluice::detail
