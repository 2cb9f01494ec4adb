// SPDX-License-Identifier: Apache-2.0
//! NOP, READ, POLL_ADD, ASYNC_CANCEL, TIMEOUT, TIMEOUT_REMOVE.
#include <poll.h>

#include <cerrno>
#include <cstring>

#include "sim/operations.hpp"
#include "sim/sim_ring.hpp"
#include "sim/simple_files.hpp"

namespace sluice::sim {

namespace {

int prepare_nothing(sim_ring&, request&) { return 0; }

outcome try_nop(sim_ring&, request&) { return outcome::finish(0); }

int prepare_read(sim_ring&, request& r) { return r.selects_buffer() ? -EINVAL : 0; }

outcome try_read(sim_ring& ring, request& r) {
    auto* counter = dynamic_cast<event_counter*>(r.file.get());
    std::uint64_t value = 0;
    if (counter == nullptr || r.sqe.len < sizeof value) return outcome::finish(-EINVAL);
    if (!counter->ready(interest::input)) return outcome::wait(interest::input);
    if (const auto instead = ring.intercept(r)) return *instead;
    value = counter->take();
    std::memcpy(reinterpret_cast<void*>(r.sqe.addr), &value, sizeof value);
    return outcome::finish(sizeof value);
}

int prepare_poll(sim_ring&, request& r) {
    const bool one_shot = r.sqe.len == 0 && r.sqe.addr == 0 && r.sqe.addr2 == 0;
    return one_shot && (r.sqe.op_flags & (POLLIN | POLLOUT)) != 0 ? 0 : -EINVAL;
}

outcome try_poll(sim_ring& ring, request& r) {
    unsigned seen = 0;
    if (r.file->ready(interest::input)) seen |= POLLIN;
    if (r.file->ready(interest::output)) seen |= POLLOUT;
    seen &= r.sqe.op_flags;
    const bool input = (r.sqe.op_flags & POLLIN) != 0;
    if (seen == 0) return outcome::wait(input ? interest::input : interest::output);
    if (const auto instead = ring.intercept(r)) return *instead;
    return outcome::finish(seen);
}

int prepare_cancel(sim_ring&, request& r) {
    constexpr unsigned known = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY |
                               IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED |
                               IORING_ASYNC_CANCEL_USERDATA | IORING_ASYNC_CANCEL_OP;
    const unsigned flags = r.sqe.op_flags;
    if ((flags & ~known) != 0 || r.sqe.addr2 != 0 || r.selects_buffer()) return -EINVAL;
    const bool by_file = (flags & IORING_ASYNC_CANCEL_FD) != 0;
    return by_file && (flags & IORING_ASYNC_CANCEL_ANY) != 0 ? -EINVAL : 0;
}

outcome try_cancel(sim_ring& ring, request& r) {
    const unsigned flags = r.sqe.op_flags;
    std::shared_ptr<sim_file> file;
    if ((flags & IORING_ASYNC_CANCEL_FD) != 0) {
        file = (flags & IORING_ASYNC_CANCEL_FD_FIXED) != 0
                   ? ring.files().find(static_cast<std::uint32_t>(r.sqe.fd))
                   : ring.descriptors().find(r.sqe.fd);
        if (file == nullptr) return outcome::finish(-EBADF);
    }
    const bool any = (flags & IORING_ASYNC_CANCEL_ANY) != 0;
    const bool by_data = (flags & IORING_ASYNC_CANCEL_USERDATA) != 0 ||
                         (file == nullptr && (flags & IORING_ASYNC_CANCEL_OP) == 0);
    const auto matches = [&](const request& target) {
        if (any) return true;
        if (file != nullptr && target.file != file) return false;
        if ((flags & IORING_ASYNC_CANCEL_OP) != 0 && target.sqe.opcode != r.sqe.len) return false;
        return !by_data || target.sqe.user_data == r.sqe.addr;
    };
    const bool all = (flags & (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY)) != 0;
    return outcome::finish(ring.cancel(matches, all, r));
}

int prepare_timeout(sim_ring& ring, request& r) {
    // Counting completions is not simulated.
    if (r.sqe.len != 1 || r.sqe.addr2 != 0 || (r.sqe.op_flags & ~IORING_TIMEOUT_ABS) != 0)
        return -EINVAL;
    __kernel_timespec given{};
    std::memcpy(&given, reinterpret_cast<const void*>(r.sqe.addr), sizeof given);
    if (given.tv_sec < 0 || given.tv_nsec < 0) return -EINVAL;
    r.time = given.tv_sec * 1'000'000'000 + given.tv_nsec;
    if ((r.sqe.op_flags & IORING_TIMEOUT_ABS) == 0) r.time += ring.in().clock.now();
    return 0;
}

outcome try_timeout(sim_ring& ring, request& r) {
    ring.schedule(r, r.time, [&ring](request& due) { ring.end(due, -ETIME, 0); });
    return outcome::wait(interest::input);
}

outcome try_timeout_remove(sim_ring& ring, request& r) {
    const auto matches = [&](const request& target) {
        return target.sqe.opcode == IORING_OP_TIMEOUT && target.sqe.user_data == r.sqe.addr;
    };
    return outcome::finish(ring.cancel(matches, false, r));
}

}  // namespace

const operation_kind nop_operation{prepare_nothing, try_nop, false};
const operation_kind read_operation{prepare_read, try_read, true};
const operation_kind poll_operation{prepare_poll, try_poll, true};
const operation_kind cancel_operation{prepare_cancel, try_cancel, false};
const operation_kind timeout_operation{prepare_timeout, try_timeout, false};
const operation_kind timeout_remove_operation{prepare_nothing, try_timeout_remove, false};

}  // namespace sluice::sim
