// SPDX-License-Identifier: Apache-2.0
#include "net/provided_buffers.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "runtime/probe.hpp"

namespace sluice::detail {

namespace {
constexpr std::uint32_t most_buffers = 32768;  // the kernel's limit for a buffer ring
}  // namespace

result<provided_buffers*> provided_buffers::create(reactor_io& io, const reactor_options& options,
                                                   returned_hook hook, void* context) {
    auto* made = new provided_buffers;
    made->hook_ = hook;
    made->context_ = context;
    if (auto ready = made->set_up(io, options); !ready) {
        made->close(io);
        return ready.error();
    }
    return made;
}

provided_buffers::~provided_buffers() {
    if (region_) region_->retire();
    if (memory_ != nullptr) kernel_->unmap(memory_, std::size_t{count_} * size_);
    if (ring_ != nullptr) kernel_->unmap(ring_, count_ * sizeof(io_uring_buf));
}

result<void> provided_buffers::set_up(reactor_io& io, const reactor_options& options) {
    io_ = &io;
    kernel_ = &io.below();
    incremental_ = io.found().has(feature_incremental_buffers);
    count_ = std::bit_ceil(std::clamp(options.recv_buffers, 1U, most_buffers));
    size_ = std::max(options.recv_buffer_size, 1U);
    int error = 0;
    ring_ =
        static_cast<io_uring_buf_ring*>(kernel_->map_memory(count_ * sizeof(io_uring_buf), error));
    if (ring_ == nullptr) return errno_error(error);
    memory_ = static_cast<std::byte*>(kernel_->map_memory(std::size_t{count_} * size_, error));
    if (memory_ == nullptr) return errno_error(error);
    region_ = std::make_shared<fixed_region>(std::span(memory_, std::size_t{count_} * size_));
    blocks_ = std::make_unique<block[]>(count_);
    set_capacity(count_);
    least_posted_ = std::clamp(options.recv_posted_bytes / size_, 1U, count_);
    most_posted_ = std::clamp(options.recv_posted_most_bytes / size_, least_posted_, count_);
    wanted_posted_ = least_posted_;

    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(ring_);
    registration.ring_entries = count_;
    registration.bgid = group;
    if (incremental_) registration.flags = IOU_PBUF_RING_INC;
    const int failed = io.rings().register_call(IORING_REGISTER_PBUF_RING, &registration, 1);
    if (failed < 0) return errno_error(-failed);
    open_ = true;
    for (std::uint32_t i = 0; i < count_; ++i) {
        blocks_[i].source = this;
        put(blocks_[i]);
    }
    return {};
}

void provided_buffers::close(reactor_io& io) noexcept {
    if (std::exchange(open_, false)) {
        io_uring_buf_reg registration{};
        registration.bgid = group;
        io.rings().register_call(IORING_UNREGISTER_PBUF_RING, &registration, 1);
    }
    retire();
}

bool provided_buffers::lends(const void* data, const void* of) const noexcept {
    // Any bits: compared as numbers.
    const auto first = reinterpret_cast<std::uintptr_t>(blocks_.get());
    const auto distance = reinterpret_cast<std::uintptr_t>(of) - first;
    const std::size_t index = distance / sizeof(block);
    if (distance % sizeof(block) != 0 || index >= count_) return false;
    const block& b = blocks_[index];
    if (b.handles <= (b.with_kernel ? 1 : 0)) return false;
    const auto start = reinterpret_cast<std::uintptr_t>(memory_) + index * size_;
    return reinterpret_cast<std::uintptr_t>(data) - start < size_;
}

void provided_buffers::take_nothing(std::uint32_t cqe_flags) noexcept {
    if (is_last(cqe_flags)) taken_back(block_of(cqe_flags));
}

void provided_buffers::taken_back(block& b) noexcept {
    b.with_kernel = false;
    set_available(available() - 1);
    --posted_;
    if (--b.handles <= 0) settle(b);
    if (++used_ > wanted_posted_ / 2)
        widen();
    else
        post_spares();
}

void provided_buffers::recycle(buffer_block& b) noexcept {
    if (!open_) return;
    put(static_cast<block&>(b));
    hook_(context_);
}

void provided_buffers::put(block& b) noexcept {
    b.used = 0;
    set_available(available() + 1);
    if (posted_ < wanted_posted_) {
        post(b);
        return;
    }
    b.next_spare = spare_;
    spare_ = &b;
}

void provided_buffers::post(block& b) noexcept {
    const auto index = static_cast<std::uint16_t>(&b - blocks_.get());
    // The first entry shares its memory with the ring's tail, so fields are set one by one.
    io_uring_buf& entry = ring_->bufs[tail_ & (count_ - 1)];
    entry.addr = reinterpret_cast<std::uint64_t>(memory_ + std::size_t{index} * size_);
    entry.len = size_;
    entry.bid = index;
    b.with_kernel = true;
    ++b.handles;
    ++posted_;
    ++tail_;
    __atomic_store_n(&ring_->tail, tail_, __ATOMIC_RELEASE);
}

void provided_buffers::post_spares() noexcept {
    while (posted_ < wanted_posted_ && spare_ != nullptr && open_)
        post(*std::exchange(spare_, spare_->next_spare));
}

void provided_buffers::widen() noexcept {
    wanted_posted_ = std::min(2 * wanted_posted_, most_posted_);
    post_spares();
}

// Buffers that are in the ring stay there until they are used.
void provided_buffers::narrow() noexcept {
    constexpr std::uint32_t few = 8;
    if (std::exchange(most_used_, 0) < wanted_posted_ / few)
        wanted_posted_ = std::max(wanted_posted_ / 2, least_posted_);
    turns_until_narrowing_ = narrowing_turns;
}

}  // namespace sluice::detail
