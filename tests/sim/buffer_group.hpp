// SPDX-License-Identifier: Apache-2.0
//! The kernel's end of a provided-buffer ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "runtime/uring.hpp"
#include "sim/memory_map.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

//! Reads the tail that the program publishes and hands buffers out in order. Keeps the books that
//! Linux does not: which buffer is whose. What the program does wrong is a failure of the world: a
//! buffer given while the kernel holds it, memory given twice, more entries than the ring has.
class buffer_group {
public:
    struct selected {
        std::byte* address;
        std::size_t length;
    };

    //! On memory of the program.
    buffer_group(world& w, const io_uring_buf_reg& registration, io_uring_buf_ring* ring);
    //! On memory of its own, for the program to map (IOU_PBUF_RING_MMAP).
    buffer_group(world& w, const io_uring_buf_reg& registration);
    buffer_group(const buffer_group&) = delete;
    buffer_group& operator=(const buffer_group&) = delete;

    //! The next buffer, or what is left of it; nothing when there is none. Does not take it.
    std::optional<selected> peek();

    //! Takes `used` bytes of the buffer that peek() gave. Returns the CQE's flags.
    std::uint32_t commit(std::size_t used);

    //! Takes in what the program has given since the last look.
    void audit();

    //! Buffers that the program holds.
    [[nodiscard]] std::size_t lent() const noexcept { return known_ - held_.size(); }
    //! Buffers that the kernel holds.
    [[nodiscard]] std::size_t held() const noexcept { return held_.size(); }
    [[nodiscard]] std::uint16_t head() const noexcept { return head_; }
    [[nodiscard]] std::uint16_t id() const noexcept { return id_; }
    //! Null unless the memory is the kernel's.
    [[nodiscard]] const mapped_pages& pages() const noexcept { return pages_; }

private:
    io_uring_buf& entry(std::uint16_t index) const noexcept {
        return ring_->bufs[index & (entries_ - 1)];
    }
    void take_in(const io_uring_buf& given);
    void complain(const std::string& what, std::uint16_t buffer) const;

    world& world_;
    mapped_pages pages_;
    io_uring_buf_ring* ring_;
    std::uint32_t entries_;
    std::uint16_t id_;
    bool incremental_;
    std::uint16_t head_ = 0;
    std::uint16_t tail_ = 0;                     // as far as audited
    std::size_t known_ = 0;                      // different buffers seen so far
    std::map<std::uint16_t, bool> with_kernel_;  // by buffer id
    std::map<std::uint64_t, std::pair<std::uint64_t, std::uint16_t>> held_;  // start: end, id
};

}  // namespace sluice::sim
