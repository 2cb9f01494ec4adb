// SPDX-License-Identifier: Apache-2.0
#include "sim/shared_queues.hpp"

#include <bit>
#include <cerrno>
#include <cstddef>

namespace sluice::sim {

namespace {
constexpr unsigned most_sq_entries = 32768;
constexpr unsigned most_cq_entries = 2 * most_sq_entries;
constexpr std::size_t cache_line = 64;
}  // namespace

int shared_queues::set_up(unsigned entries, io_uring_params& params) {
    const bool clamp = (params.flags & IORING_SETUP_CLAMP) != 0;
    if (entries == 0) return -EINVAL;
    if (entries > most_sq_entries) {
        if (!clamp) return -EINVAL;
        entries = most_sq_entries;
    }
    sq_entries_ = std::bit_ceil(entries);
    cq_entries_ = 2 * sq_entries_;
    if ((params.flags & IORING_SETUP_CQSIZE) != 0) {
        unsigned wanted = params.cq_entries;
        if (wanted == 0) return -EINVAL;
        if (wanted > most_cq_entries) {
            if (!clamp) return -EINVAL;
            wanted = most_cq_entries;
        }
        cq_entries_ = std::bit_ceil(wanted);
        if (cq_entries_ < sq_entries_) return -EINVAL;
    }
    cqe_shift_ = (params.flags & IORING_SETUP_CQE32) != 0 ? 1 : 0;
    mixed_ = (params.flags & IORING_SETUP_CQE_MIXED) != 0;
    if (mixed_ && cqe_shift_ != 0) return -EINVAL;
    const std::size_t header_end = (sizeof(header) + cache_line - 1) / cache_line * cache_line;
    cqes_offset_ = header_end;
    std::size_t end = cqes_offset_ + (cq_entries_ * sizeof(io_uring_cqe) << cqe_shift_);
    if ((params.flags & IORING_SETUP_NO_SQARRAY) == 0) {
        array_offset_ = end;
        end += sq_entries_ * sizeof(std::uint32_t);
    }
    rings_ = mapped_pages(end);
    sqes_ = mapped_pages(sq_entries_ * sizeof(io_uring_sqe));
    if (rings_.data() == nullptr || sqes_.data() == nullptr) return -ENOMEM;
    shared() = {};
    shared().sq_mask = sq_entries_ - 1;
    shared().sq_entries = sq_entries_;
    shared().cq_mask = cq_entries_ - 1;
    shared().cq_entries = cq_entries_;
    tell(params);
    return 0;
}

void shared_queues::tell(io_uring_params& params) const noexcept {
    params.sq_entries = sq_entries_;
    params.cq_entries = cq_entries_;
    params.sq_off = {};
    params.sq_off.head = offsetof(header, sq_head);
    params.sq_off.tail = offsetof(header, sq_tail);
    params.sq_off.ring_mask = offsetof(header, sq_mask);
    params.sq_off.ring_entries = offsetof(header, sq_entries);
    params.sq_off.flags = offsetof(header, sq_flags);
    params.sq_off.dropped = offsetof(header, sq_dropped);
    params.sq_off.array = static_cast<std::uint32_t>(array_offset_);
    params.cq_off = {};
    params.cq_off.head = offsetof(header, cq_head);
    params.cq_off.tail = offsetof(header, cq_tail);
    params.cq_off.ring_mask = offsetof(header, cq_mask);
    params.cq_off.ring_entries = offsetof(header, cq_entries);
    params.cq_off.overflow = offsetof(header, cq_overflow);
    params.cq_off.cqes = static_cast<std::uint32_t>(cqes_offset_);
    params.cq_off.flags = offsetof(header, cq_flags);
}

void* shared_queues::map(std::uint64_t offset, std::size_t length) const noexcept {
    const mapped_pages* pages = nullptr;
    if (offset == IORING_OFF_SQ_RING || offset == IORING_OFF_CQ_RING) pages = &rings_;
    if (offset == IORING_OFF_SQES) pages = &sqes_;
    return pages != nullptr && length <= pages->size() ? pages->data() : nullptr;
}

std::optional<sqe_fields> shared_queues::take_sqe() {
    const std::uint32_t tail = __atomic_load_n(&shared().sq_tail, __ATOMIC_ACQUIRE);
    while (sq_head_ != tail) {
        std::uint32_t index = sq_head_ & (sq_entries_ - 1);
        if (array_offset_ != 0) index = rings_.at<std::uint32_t>(array_offset_)[index];
        const bool valid = index < sq_entries_;
        std::optional<sqe_fields> taken;
        if (valid)
            taken.emplace(sqes_.at<io_uring_sqe>(0)[index]);
        else
            ++shared().sq_dropped;
        __atomic_store_n(&shared().sq_head, ++sq_head_, __ATOMIC_RELEASE);
        if (valid) return taken;
    }
    return std::nullopt;
}

unsigned shared_queues::ready() const noexcept {
    return cq_tail_ - __atomic_load_n(&shared().cq_head, __ATOMIC_ACQUIRE);
}

bool shared_queues::full() const noexcept { return !overflow_.empty() || ready() >= cq_entries_; }

io_uring_cqe* shared_queues::next_cqe() const noexcept {
    return rings_.at<io_uring_cqe>(cqes_offset_) + ((cq_tail_ & (cq_entries_ - 1)) << cqe_shift_);
}

void shared_queues::publish(unsigned slots) noexcept {
    cq_tail_ += slots;
    __atomic_store_n(&shared().cq_tail, cq_tail_, __ATOMIC_RELEASE);
}

void shared_queues::write_cqe(const kept& k) noexcept {
    io_uring_cqe* place = next_cqe();
    place->user_data = k.user_data;
    place->res = k.result;
    place->flags = k.flags;
    if (cqe_shift_ != 0) place[1] = {};
    publish(1);
}

// A big CQE does not go round the end: a slot that is left there is filled with one to be skipped.
bool shared_queues::make_room_for_big() noexcept {
    if (!mixed_) return !full();
    if (!overflow_.empty()) return false;
    if ((cq_tail_ & (cq_entries_ - 1)) == cq_entries_ - 1 && !full())
        write_cqe({0, 0, IORING_CQE_F_SKIP});
    return cq_entries_ - ready() >= 2 && (cq_tail_ & (cq_entries_ - 1)) != cq_entries_ - 1;
}

void shared_queues::post_big(std::uint64_t user_data, std::int32_t result, std::uint32_t flags,
                             std::uint64_t second_half) {
    ++world_.books.cqes;
    io_uring_cqe* place = next_cqe();
    place->user_data = user_data;
    place->res = result;
    place->flags = flags | (mixed_ ? IORING_CQE_F_32 : 0);
    place[1] = {};
    place[1].user_data = second_half;  // the first of the two words
    publish(mixed_ ? 2 : 1);
}

void shared_queues::post(std::uint64_t user_data, std::int32_t result, std::uint32_t flags) {
    ++world_.books.cqes;
    if (full()) {
        ++world_.books.overflows;
        overflow_.push_back({user_data, result, flags});
        set_flag(IORING_SQ_CQ_OVERFLOW, true);
        return;
    }
    write_cqe({user_data, result, flags});
}

void shared_queues::flush_overflow() {
    while (!overflow_.empty() && ready() < cq_entries_) {
        write_cqe(overflow_.front());
        overflow_.pop_front();
    }
    if (overflow_.empty()) set_flag(IORING_SQ_CQ_OVERFLOW, false);
}

void shared_queues::set_flag(std::uint32_t flag, bool on) noexcept {
    if (on)
        __atomic_fetch_or(&shared().sq_flags, flag, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&shared().sq_flags, ~flag, __ATOMIC_RELAXED);
}

void shared_queues::set_task_run(bool pending) noexcept { set_flag(IORING_SQ_TASKRUN, pending); }

}  // namespace sluice::sim
