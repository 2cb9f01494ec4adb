// SPDX-License-Identifier: Apache-2.0
//! RECV_ZC.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "sim/operations.hpp"
#include "sim/transfer.hpp"

namespace sluice::sim {

namespace {

int prepare_receive_zc(sim_ring& ring, request& r) {
    constexpr unsigned known = IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT;
    if (!ring.in().options.kernel.zcrx || r.sqe.addr2 != 0 || r.sqe.addr != 0) return -EINVAL;
    if (ring.rx_queue(r.sqe.file_index) == nullptr || r.sqe.op_flags != 0) return -EINVAL;
    if ((r.sqe.ioprio & ~known) != 0 || !r.multishot()) return -EINVAL;
    r.limit_left = r.sqe.len;
    return 0;
}

// Nothing is read before there is room for it, and for the CQE that tells of it: so the ends that
// only mean "again" lose nothing.
outcome try_receive_zc(sim_ring& ring, request& r) {
    sim_socket* s = socket_of(r);
    if (s == nullptr) return outcome::finish(-ENOTSOCK);
    if (begins_with_waiting(r, interest::input)) return outcome::wait(interest::input);
    zcrx_queue& queue = *ring.rx_queue(r.sqe.file_index);
    for (int i = 0; i < multishot_tries && s->ready(interest::input); ++i) {
        if (const auto instead = ring.intercept(r)) return *instead;
        if (s->unread() == 0) {
            std::array<std::byte, 1> nothing{};
            const int end = s->receive(nothing);
            return end == -EAGAIN ? outcome::wait(interest::input) : outcome::finish(end);
        }
        const bool full = !ring.has_room_for_big_cqe();
        if (full || !queue.has_chunk()) {
            // As in Linux, who has delivered something is tried again before it ends.
            if (i != 0) return outcome::later(0);
            return outcome::finish(queue.has_chunk() ? -ENOSPC : -ENOMEM);
        }
        std::size_t length = std::min(s->unread(), zcrx_queue::chunk_bytes);
        if (r.sqe.len != 0) length = std::min(length, r.limit_left);
        length = next_length(ring, r, length);
        const zcrx_queue::taken chunk = queue.take();
        const int got = s->receive({chunk.address, length});
        ring.post_big(r, got, chunk.offset);
        queue.copied(static_cast<std::size_t>(got));
        if (r.sqe.len == 0) continue;
        r.limit_left -= static_cast<std::size_t>(got);
        if (r.limit_left == 0) return outcome::finish(0);  // like the end of the stream
    }
    return outcome::wait(interest::input);
}

}  // namespace

const operation_kind receive_zc_operation{prepare_receive_zc, try_receive_zc, true,
                                          interest::input};

}  // namespace sluice::sim
