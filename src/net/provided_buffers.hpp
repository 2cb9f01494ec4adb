// SPDX-License-Identifier: Apache-2.0
//! The reactor's provided-buffer ring: where receives in copy mode put their bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "runtime/reactor_io.hpp"
#include "sluice/buffer.hpp"
#include "sluice/options.hpp"

namespace sluice::detail {

//! One block a buffer. An incremental buffer (kernel 6.12) takes several receives, of any
//! connections, one behind the other; it goes back when the kernel has used it up and the last
//! slice has ended. A whole one takes one receive. (io_uring_register_buf_ring(3))
//!
//! The ring is a FIFO, so that all buffers in it would pass through the cache before one is used
//! again. It holds only as many as the load needs: `recv_posted_bytes` at first, twice as many
//! when a turn uses more than half or a receive starves, up to `recv_posted_most_bytes`, half as
//! many when few are used for long. The others are kept in a stack, the one used last on top.
class provided_buffers final : public buffer_source {
public:
    static constexpr std::uint16_t group = 0;
    static constexpr std::uint32_t narrowing_turns = 1024;

    //! Told when buffers are back in the ring.
    using returned_hook = void (*)(void* context) noexcept;

    static result<provided_buffers*> create(reactor_io& io, const reactor_options& options,
                                            returned_hook hook, void* context);

    //! Ends the ring's use of the buffers. The memory stays until the last slice has ended.
    void close(reactor_io& io) noexcept;

    //! The slice that a CQE with IORING_CQE_F_BUFFER and `size` > 0 delivers.
    rx_buffer take(std::uint32_t cqe_flags, std::uint32_t size) noexcept {
        const std::size_t index = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
        block& b = blocks_[index];
        std::byte* data = memory_ + index * size_ + b.used;
        b.used += size;
        rx_buffer slice = rx_buffer::lend(b, data, size);
        if (is_last(cqe_flags)) taken_back(b);
        return slice;
    }

    //! For a CQE that names a buffer and delivers nothing.
    void take_nothing(std::uint32_t cqe_flags) noexcept;

    //! Once a turn. Takes in what ended on other threads.
    void collect() noexcept {
        collect_returns();
        most_used_ = std::max(most_used_, std::exchange(used_, 0));
        if (--turns_until_narrowing_ == 0) narrow();
    }

    //! A receive starves: what comes home from other threads must wake the reactor.
    void want() noexcept {
        want_returns();
        collect_returns();
        widen();
    }

    //! See reactor_local::lends().
    [[nodiscard]] bool lends(const void* data, const void* of) const noexcept;

    [[nodiscard]] const std::shared_ptr<fixed_region>& region_of(
        const buffer_block&) const noexcept override {
        return region_;
    }

    [[nodiscard]] std::uint32_t buffer_size() const noexcept { return size_; }
    //! Buffers in the ring.
    [[nodiscard]] std::uint32_t posted() const noexcept { return posted_; }

private:
    struct block final : buffer_block {
        block* next_spare = nullptr;
        std::uint32_t used = 0;    // bytes delivered since it was put into the ring
        bool with_kernel = false;  // which then has a handle, but for lent()
    };

    provided_buffers() = default;
    ~provided_buffers() override;
    result<void> set_up(reactor_io& io, const reactor_options& options);
    void recycle(buffer_block& b) noexcept override;
    void wake_home() noexcept override { io_->wake(); }
    void put(block& b) noexcept;
    void post(block& b) noexcept;
    void post_spares() noexcept;
    void widen() noexcept;
    void narrow() noexcept;
    //! Whether the kernel has done with the buffer that this CQE names.
    [[nodiscard]] bool is_last(std::uint32_t cqe_flags) const noexcept {
        return !incremental_ || (cqe_flags & IORING_CQE_F_BUF_MORE) == 0;
    }
    void taken_back(block& b) noexcept;
    block& block_of(std::uint32_t cqe_flags) noexcept {
        return blocks_[cqe_flags >> IORING_CQE_BUFFER_SHIFT];
    }

    reactor_io* io_ = nullptr;  // until close()
    kernel* kernel_ = nullptr;
    bool incremental_ = false;
    bool open_ = false;
    std::uint32_t count_ = 0;
    std::uint32_t size_ = 0;
    std::uint16_t tail_ = 0;
    std::uint32_t posted_ = 0;         // in the ring
    std::uint32_t wanted_posted_ = 0;  // no more are put there
    std::uint32_t least_posted_ = 0;
    std::uint32_t most_posted_ = 0;
    block* spare_ = nullptr;       // not in the ring, and lent to nobody
    std::uint32_t used_ = 0;       // by the kernel since the last collect()
    std::uint32_t most_used_ = 0;  // between two of them, since the last narrow()
    std::uint32_t turns_until_narrowing_ = narrowing_turns;
    io_uring_buf_ring* ring_ = nullptr;
    std::byte* memory_ = nullptr;
    std::shared_ptr<fixed_region> region_;  // all of memory_
    std::unique_ptr<block[]> blocks_;
    returned_hook hook_ = nullptr;
    void* context_ = nullptr;
};

}  // namespace sluice::detail
