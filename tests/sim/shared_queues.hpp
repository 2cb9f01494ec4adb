// SPDX-License-Identifier: Apache-2.0
//! The submission and completion queue that a ring shares with its program.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "runtime/uring.hpp"
#include "sim/memory_map.hpp"
#include "sim/sqe_fields.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

//! The kernel's side of the shared memory: takes SQEs, posts CQEs, keeps those that find no room.
class shared_queues {
public:
    explicit shared_queues(world& w) : world_(w) {}

    //! Checks and rounds the sizes, makes the memory and tells the program where things are.
    //! EINVAL, ENOMEM.
    int set_up(unsigned entries, io_uring_params& params);

    //! The memory at an offset of mmap(2); null when nothing of that length is there.
    [[nodiscard]] void* map(std::uint64_t offset, std::size_t length) const noexcept;

    //! The next SQE that the program has published, copied; nothing when there is none.
    std::optional<sqe_fields> take_sqe();

    //! Posts, or keeps for later when the queue is full or something else is kept already.
    void post(std::uint64_t user_data, std::int32_t result, std::uint32_t flags);
    //! Posts a CQE of 32 bytes. There must be room for it.
    void post_big(std::uint64_t user_data, std::int32_t result, std::uint32_t flags,
                  std::uint64_t second_half);
    //! Whether there is. In a ring with both sizes it may have to fill a slot at the end.
    bool make_room_for_big() noexcept;
    //! Whether there are such CQEs in this ring.
    [[nodiscard]] bool has_big_cqes() const noexcept { return mixed_ || cqe_shift_ != 0; }
    //! Whether post() would keep the CQE.
    [[nodiscard]] bool full() const noexcept;
    //! Posts what was kept, as far as there is room.
    void flush_overflow();

    //! CQEs that the program has not consumed.
    [[nodiscard]] unsigned ready() const noexcept;
    [[nodiscard]] unsigned cq_entries() const noexcept { return cq_entries_; }

    void set_task_run(bool pending) noexcept;

private:
    //! What lies at the beginning of the rings' memory.
    struct header {
        std::uint32_t sq_head, sq_tail, sq_mask, sq_entries, sq_flags, sq_dropped;
        std::uint32_t cq_head, cq_tail, cq_mask, cq_entries, cq_overflow, cq_flags;
    };

    struct kept {
        std::uint64_t user_data;
        std::int32_t result;
        std::uint32_t flags;
    };

    void tell(io_uring_params& params) const noexcept;
    void set_flag(std::uint32_t flag, bool on) noexcept;
    void write_cqe(const kept& k) noexcept;
    [[nodiscard]] io_uring_cqe* next_cqe() const noexcept;
    void publish(unsigned slots) noexcept;
    [[nodiscard]] header& shared() const noexcept { return *rings_.at<header>(0); }

    world& world_;
    mapped_pages rings_;
    mapped_pages sqes_;
    unsigned sq_entries_ = 0;
    unsigned cq_entries_ = 0;
    unsigned cqe_shift_ = 0;  // 1: all CQEs have 32 bytes
    bool mixed_ = false;      // those that need it take two slots
    std::size_t cqes_offset_ = 0;
    std::size_t array_offset_ = 0;  // 0: no array
    std::uint32_t sq_head_ = 0;     // the kernel believes its own
    std::uint32_t cq_tail_ = 0;
    std::deque<kept> overflow_;
};

}  // namespace sluice::sim
