// SPDX-License-Identifier: Apache-2.0
#include "runtime/ring.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

namespace sluice::detail {

namespace {

struct optional_flag {
    unsigned flag;
    const char* name;
    const char* since;
};

// In the order in which they are given up. What is left is the least that sluice runs on.
constexpr std::array optional_flags{
    optional_flag{IORING_SETUP_CQE_MIXED, "CQE_MIXED", "6.18"},
    optional_flag{IORING_SETUP_NO_SQARRAY, "NO_SQARRAY", "6.6"},
};

constexpr unsigned required_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG |
                                    IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;

template <class T>
T* at(void* base, std::uint32_t offset) noexcept {
    return reinterpret_cast<T*>(static_cast<std::byte*>(base) + offset);
}

}  // namespace

ring::~ring() {
    if ((enter_flags_ & IORING_ENTER_REGISTERED_RING) != 0) {
        io_uring_rsrc_update update{};
        update.offset = static_cast<std::uint32_t>(enter_fd_);
        register_call(IORING_UNREGISTER_RING_FDS, &update, 1);
    }
    if (rings_ != nullptr) kernel_.unmap(rings_, rings_bytes_);
    if (sqes_ != nullptr) kernel_.unmap(sqes_, sqes_bytes_);
    if (fd_ >= 0) kernel_.close(fd_);
}

result<void> ring::open(const reactor_options& options, features& found) {
    found.set("SINGLE_ISSUER", true);
    found.set("DEFER_TASKRUN", true);
    unsigned flags = required_flags;
    for (const optional_flag& o : optional_flags) {
        flags |= o.flag;
        found.set(o.name, true);
    }
    // A CQE of two slots does not go round the end, and what fills the slot there takes room too:
    // in a queue of two it may find none for ever.
    const std::uint32_t least = options.zcrx.wanted() ? 4 : 2;
    io_uring_params params{};
    for (auto give_up = optional_flags.begin();; ++give_up) {
        params = {};
        params.flags = flags;
        params.cq_entries = std::max({options.cq_entries, options.sq_entries, least});
        fd_ = kernel_.uring_setup(std::max(options.sq_entries, 1U), params);
        if (fd_ != -EINVAL || give_up == optional_flags.end()) break;
        flags &= ~give_up->flag;
        // Zero-copy receives answer in 32 bytes; where CQEs cannot differ, all have them.
        if (give_up->flag == IORING_SETUP_CQE_MIXED && options.zcrx.wanted())
            flags |= IORING_SETUP_CQE32;
        found.set(give_up->name, false,
                  std::string("the kernel refuses it (there since ") + give_up->since + ")");
    }
    if (fd_ < 0) return errno_error(-fd_);

    if ((params.features & IORING_FEAT_SINGLE_MMAP) == 0) return errno_error(ENOTSUP);
    if (auto mapped = map(params); !mapped) return mapped;

    enter_fd_ = fd_;
    min_wait_possible_ = (params.features & IORING_FEAT_MIN_TIMEOUT) != 0;
    found.set("MIN_TIMEOUT", min_wait_possible_, min_wait_possible_ ? "" : "needs kernel 6.12");
    const bool no_iowait = (params.features & IORING_FEAT_NO_IOWAIT) != 0;
    if (no_iowait) enter_flags_ |= IORING_ENTER_NO_IOWAIT;
    found.set("NO_IOWAIT", no_iowait, no_iowait ? "" : "needs kernel 6.15");
    register_ring_descriptor(found);
    find_absolute_waits(found);
    set_up_busy_poll(options, found);
    return {};
}

result<void> ring::map(const io_uring_params& params) {
    // With CQE_MIXED the slots stay 16 bytes; a big CQE takes two of them.
    cqe_shift_ = (params.flags & IORING_SETUP_CQE32) != 0 ? 1 : 0;
    big_cqes_ = (params.flags & (IORING_SETUP_CQE32 | IORING_SETUP_CQE_MIXED)) != 0;
    rings_bytes_ =
        std::max(params.sq_off.array + params.sq_entries * sizeof(std::uint32_t),
                 params.cq_off.cqes + (params.cq_entries * sizeof(io_uring_cqe) << cqe_shift_));
    sqes_bytes_ = params.sq_entries * sizeof(io_uring_sqe);
    int error = 0;
    rings_ = kernel_.map_ring(fd_, rings_bytes_, IORING_OFF_SQ_RING, error);
    if (rings_ == nullptr) return errno_error(error);
    void* sqes = kernel_.map_ring(fd_, sqes_bytes_, IORING_OFF_SQES, error);
    if (sqes == nullptr) return errno_error(error);
    sqes_ = static_cast<io_uring_sqe*>(sqes);

    sq_head_ = at<std::uint32_t>(rings_, params.sq_off.head);
    sq_tail_ = at<std::uint32_t>(rings_, params.sq_off.tail);
    sq_flags_ = at<std::uint32_t>(rings_, params.sq_off.flags);
    sq_mask_ = *at<std::uint32_t>(rings_, params.sq_off.ring_mask);
    sq_entries_ = *at<std::uint32_t>(rings_, params.sq_off.ring_entries);
    cq_head_ = at<std::uint32_t>(rings_, params.cq_off.head);
    cq_tail_ = at<std::uint32_t>(rings_, params.cq_off.tail);
    cq_mask_ = *at<std::uint32_t>(rings_, params.cq_off.ring_mask);
    cq_entries_ = *at<std::uint32_t>(rings_, params.cq_off.ring_entries);
    cqes_ = at<io_uring_cqe>(rings_, params.cq_off.cqes);
    if ((params.flags & IORING_SETUP_NO_SQARRAY) == 0) {
        auto* array = at<std::uint32_t>(rings_, params.sq_off.array);
        for (std::uint32_t i = 0; i < sq_entries_; ++i) array[i] = i;
    }
    return {};
}

void ring::register_ring_descriptor(features& found) {
    io_uring_rsrc_update update{};
    update.offset = UINT32_MAX;  // any free index
    update.data = static_cast<std::uint64_t>(fd_);
    const int done = register_call(IORING_REGISTER_RING_FDS, &update, 1);
    if (done == 1) {
        enter_fd_ = static_cast<int>(update.offset);
        enter_flags_ |= IORING_ENTER_REGISTERED_RING;
    }
    found.set("REGISTERED_RING", done == 1, done == 1 ? "" : "the kernel refuses it");
}

// A wait until a time long gone ends at once, unless the kernel does not know the flag.
void ring::find_absolute_waits(features& found) noexcept {
    absolute_wait_ = IORING_ENTER_ABS_TIMER;
    if (enter(1, 0, 0) == -EINVAL) absolute_wait_ = 0;
    found.set("ABS_TIMER", absolute_wait_ != 0, absolute_wait_ != 0 ? "" : "needs kernel 6.12");
}

void ring::set_up_busy_poll(const reactor_options& options, features& found) {
    if (options.busy_poll.count() <= 0) {
        found.set("NAPI_BUSY_POLL", false, "not asked for");
        return;
    }
    io_uring_napi napi{};
    napi.busy_poll_to = static_cast<std::uint32_t>(options.busy_poll.count());
    napi.prefer_busy_poll = 1;
    const bool done = register_call(IORING_REGISTER_NAPI, &napi, 1) >= 0;
    found.set("NAPI_BUSY_POLL", done, done ? "" : "the kernel refuses it (there since 6.9)");
}

std::int64_t ring::time_until(std::int64_t deadline) const noexcept {
    return std::max<std::int64_t>(deadline - kernel_.now(), 0);
}

int ring::register_call(unsigned opcode, void* argument, unsigned count) noexcept {
    return kernel_.uring_register(fd_, opcode, argument, count);
}

}  // namespace sluice::detail
