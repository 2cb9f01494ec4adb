// SPDX-License-Identifier: Apache-2.0
//! The kernel's end of a zero-copy rx queue without a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/uring.hpp"
#include "sim/sim_file.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

//! Hands out the chunks of its areas and takes them back from the refill queue, which it reads only
//! when it is flushed. Looks at what lies there before that, which Linux does not: a chunk that is
//! given back without a reference of the program, or that does not exist, is a failure of the
//! world, and what is given back is overwritten at once.
class zcrx_queue {
public:
    static constexpr std::size_t chunk_bytes = 4096;

    //! What io_uring_register(2) was told and has found good.
    struct terms {
        void* region;  // of the program: header, entries, statistics
        std::uint32_t entries;
        zcrx_event_desc events;
        std::function<void(std::uint64_t user_data, std::int32_t type)> tell;  // of an event
    };
    static io_uring_zcrx_offsets offsets() noexcept;

    zcrx_queue(world& w, terms t);
    zcrx_queue(const zcrx_queue&) = delete;
    zcrx_queue& operator=(const zcrx_queue&) = delete;

    //! Takes another area; its token, or a negative errno.
    std::int64_t add(const io_uring_zcrx_area_reg& area);

    //! Whether take() has something to give.
    [[nodiscard]] bool has_chunk() const noexcept;
    struct taken {
        std::byte* address;
        std::uint64_t offset;  // what the CQE says
    };
    //! A free chunk, of which the program has a reference now.
    taken take();

    //! ZCRX_CTRL_FLUSH_RQ.
    void flush();

    //! So many bytes were copied: statistics, and an event, once until it is armed again.
    void copied(std::size_t bytes);
    //! ZCRX_CTRL_ARM_EVENT.
    int arm(std::uint32_t event_type);

    //! Looks at what the program has given back since the last look.
    void audit();

    //! The program has unmapped the region, if it is this one: nothing is touched any more.
    void unmapped(const void* region) noexcept;

    //! Chunks that the program has not given back.
    [[nodiscard]] std::size_t lent() const noexcept { return lent_; }
    [[nodiscard]] std::size_t free_chunks() const noexcept;

private:
    struct chunk {
        std::uint32_t references = 0;  // CQEs that named it, less entries that were flushed
        std::uint32_t returning = 0;   // entries that were seen and not flushed
    };
    struct area {
        std::byte* memory;
        std::vector<chunk> chunks;
        std::vector<std::uint32_t> free;
    };

    [[nodiscard]] std::uint32_t* word(std::size_t offset) const noexcept;
    [[nodiscard]] const io_uring_zcrx_rqe& entry(std::uint32_t index) const noexcept;
    chunk* find(const io_uring_zcrx_rqe& e);
    void look_at(const io_uring_zcrx_rqe& e);

    world& world_;
    std::byte* region_;
    std::uint32_t entries_;
    zcrx_event_desc events_;
    std::function<void(std::uint64_t, std::int32_t)> tell_;
    std::uint32_t fired_ = 0;  // by type
    std::vector<area> areas_;
    std::uint32_t head_ = 0;  // as far as flushed
    std::uint32_t seen_ = 0;  // as far as audited
    std::size_t lent_ = 0;
};

//! ZCRX_CTRL_EXPORT: a descriptor by which other rings get at the queue.
class zcrx_export final : public sim_file {
public:
    zcrx_export(world& w, std::shared_ptr<zcrx_queue> queue)
        : sim_file(w), queue_(std::move(queue)) {}
    [[nodiscard]] std::string describe() const override { return "exported rx queue"; }
    [[nodiscard]] const std::shared_ptr<zcrx_queue>& queue() const noexcept { return queue_; }

private:
    std::shared_ptr<zcrx_queue> queue_;
};

}  // namespace sluice::sim
