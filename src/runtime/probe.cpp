// SPDX-License-Identifier: Apache-2.0
#include "runtime/probe.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <utility>

namespace sluice::detail {

namespace {

constexpr std::uint16_t probe_group = 0xfffe;

// A multishot receive that names how much it may deliver. Options are checked before the
// descriptor is looked up, so a bad descriptor tells the two answers apart without a socket.
bool has_receive_limit(ring& r) {
    io_uring_sqe* sqe = r.next_sqe();
    io_uring_prep_recv_multishot(sqe, -1, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = probe_group;
    sqe->optlen = 4096;
    std::int32_t answer = 0;
    unsigned taken = 0;
    for (int tries = 0; taken == 0 && tries < 100; ++tries) {
        r.enter(1, r.below().now() + 100'000'000, 0);
        taken = r.reap([&](std::uint64_t, std::int32_t res, std::uint32_t) { answer = res; });
    }
    return answer == -EBADF;
}

// Whether a message arrives, sent to the ring itself: a ring with deferred task work takes it in
// the same way from everyone.
bool has_message_ring(ring& r) noexcept {
    constexpr std::uint64_t request = 2;
    constexpr std::uint64_t message = 4;
    io_uring_sqe* sqe = r.next_sqe();
    io_uring_prep_msg_ring(sqe, r.descriptor(), 0, message, 0);
    sqe->user_data = request;
    bool arrived = false;
    bool answered = false;
    bool refused = false;
    for (int tries = 0; tries < 10 && !refused && !(arrived && answered); ++tries) {
        r.enter(1, r.below().now() + 100'000'000, 0);
        r.reap([&](std::uint64_t user_data, std::int32_t result, std::uint32_t) {
            arrived = arrived || user_data == message;
            answered = answered || user_data == request;
            refused = refused || (user_data == request && result < 0);
        });
    }
    return arrived && !refused;
}

// What a request on a bad descriptor ends with, that of its first CQE; 0 when it does not end.
std::int32_t first_answer(ring& r) noexcept {
    std::int32_t answer = 0;
    bool answered = false;
    bool ended = false;
    for (int tries = 0; !ended && tries < 100; ++tries) {
        r.enter(1, r.below().now() + 100'000'000, 0);
        r.reap([&](std::uint64_t, std::int32_t result, std::uint32_t flags) {
            if (!std::exchange(answered, true)) answer = result;
            ended = (flags & IORING_CQE_F_MORE) == 0;
        });
    }
    return answer;
}

// That the kernel says of each send whether it copied is what 6.2 added.
bool has_zero_copy_send(ring& r) noexcept {
    const char byte = 0;
    io_uring_prep_send_zc(r.next_sqe(), -1, &byte, sizeof byte, 0, IORING_SEND_ZC_REPORT_USAGE);
    return first_answer(r) == -EBADF;
}

// Several pieces of one registered buffer in one request.
bool has_fixed_vectors(ring& r) noexcept {
    char byte = 0;
    iovec piece{&byte, sizeof byte};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    io_uring_sqe* sqe = r.next_sqe();
    io_uring_prep_sendmsg_zc(sqe, -1, &message, 0);
    sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
    return first_answer(r) == -EBADF;
}

bool has_incremental_buffers(ring& r) noexcept {
    io_uring_buf_reg registration{};
    registration.ring_entries = 8;
    registration.bgid = probe_group;
    registration.flags = IOU_PBUF_RING_MMAP | IOU_PBUF_RING_INC;
    if (r.register_call(IORING_REGISTER_PBUF_RING, &registration, 1) < 0) return false;
    registration = {};
    registration.bgid = probe_group;
    r.register_call(IORING_UNREGISTER_PBUF_RING, &registration, 1);
    return true;
}

}  // namespace

void probe_operations(ring& r, features& found) {
    const bool limit = has_receive_limit(r);
    found.set(feature_receive_limit, limit,
              limit ? "" : "needs kernel 6.17; receives are held back by cancelling them");
    const bool messages = has_message_ring(r);
    found.set(feature_message_ring, messages,
              messages ? "" : "the kernel refuses it; reactors wake each other by eventfd");
    const bool zero_copy = has_zero_copy_send(r);
    found.set(feature_zero_copy_send, zero_copy,
              zero_copy ? "" : "needs kernel 6.2; sends are copied");
    const bool vectors = zero_copy && has_fixed_vectors(r);
    found.set(feature_fixed_vectors, vectors,
              vectors ? ""
                      : "needs kernel 6.15; sends of several pieces pin their pages each time");
    const bool incremental = has_incremental_buffers(r);
    found.set(feature_incremental_buffers, incremental,
              incremental ? "" : "needs kernel 6.12; each receive takes a whole buffer");
}

}  // namespace sluice::detail
