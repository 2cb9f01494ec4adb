// SPDX-License-Identifier: Apache-2.0
//! RECV, SEND, SENDMSG, SEND_ZC, SENDMSG_ZC.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <span>
#include <utility>

#include "sim/operations.hpp"
#include "sim/transfer.hpp"

namespace sluice::sim {

namespace {

bool has(const request& r, unsigned message_flag) noexcept {
    return (r.sqe.op_flags & message_flag) != 0;
}

int prepare_receive(sim_ring& ring, request& r) {
    const bool can_limit = ring.in().options.kernel.receive_limit;
    if ((r.sqe.ioprio & ~(IORING_RECV_MULTISHOT | IORING_RECVSEND_POLL_FIRST)) != 0) return -EINVAL;
    if (r.sqe.addr2 != 0 || (r.sqe.file_index != 0 && !(can_limit && r.multishot())))
        return -EINVAL;
    if (!r.multishot()) return 0;
    if (!r.selects_buffer() || has(r, MSG_WAITALL)) return -EINVAL;
    if (r.sqe.len != 0 && !can_limit) return -EINVAL;
    r.limit_left = r.sqe.file_index;
    return 0;
}

std::uint32_t nonempty(const sim_socket& s) noexcept {
    return s.more_to_read() ? IORING_CQE_F_SOCK_NONEMPTY : 0;
}

outcome receive_multishot(sim_ring& ring, request& r, sim_socket& s) {
    for (int i = 0; i < multishot_tries; ++i) {
        // As in Linux, a buffer is needed even to find out that there is nothing to receive.
        buffer_group* group = ring.group(r.sqe.buf_group);
        const auto buffer = group != nullptr ? group->peek() : std::nullopt;
        if (!buffer) return outcome::finish(-ENOBUFS);
        if (!s.ready(interest::input)) break;
        if (const auto instead = ring.intercept(r)) return *instead;
        std::size_t length = buffer->length;
        if (r.sqe.len != 0) length = std::min<std::size_t>(length, r.sqe.len);
        const int got = s.receive({buffer->address, next_length(ring, r, length)});
        if (got == -EAGAIN) break;
        if (got <= 0) return outcome::finish(got, nonempty(s));
        const auto bytes = static_cast<std::size_t>(got);
        const std::uint32_t flags = group->commit(bytes) | nonempty(s);
        // The limit is looked at afterwards: the last receive may go beyond it.
        const bool limited = r.limit_left != 0;
        r.limit_left -= std::min(r.limit_left, bytes);
        if ((limited && r.limit_left == 0) || !ring.post_more(r, got, flags))
            return outcome::finish(got, flags);
        if (!s.more_to_read()) break;
    }
    return outcome::wait(interest::input);
}

outcome receive_once(sim_ring& ring, request& r, sim_socket& s) {
    std::span<std::byte> to{reinterpret_cast<std::byte*>(r.sqe.addr), r.sqe.len};
    buffer_group* group = nullptr;
    if (r.selects_buffer()) {
        group = ring.group(r.sqe.buf_group);
        const auto buffer = group != nullptr ? group->peek() : std::nullopt;
        if (!buffer) return outcome::finish(-ENOBUFS);
        const std::size_t wanted = r.sqe.len == 0 ? buffer->length : r.sqe.len;
        to = {buffer->address, std::min(wanted, buffer->length)};
    }
    if (!s.ready(interest::input))
        return has(r, MSG_DONTWAIT) ? outcome::finish(-EAGAIN) : outcome::wait(interest::input);
    if (const auto instead = ring.intercept(r)) return *instead;
    const bool whole = has(r, MSG_WAITALL) && group == nullptr;
    int got = 0;
    do {
        const auto rest = to.subspan(r.done);
        got = s.receive(whole ? rest : rest.first(next_length(ring, r, rest.size())));
        if (got > 0) r.done += static_cast<std::size_t>(got);
    } while (whole && got > 0 && r.done < to.size());
    if (got == -EAGAIN) return outcome::wait(interest::input);
    if (r.done == 0) return outcome::finish(got, nonempty(s));
    const std::uint32_t flags = group != nullptr ? group->commit(r.done) : 0;
    return outcome::finish(static_cast<std::int64_t>(r.done), flags | nonempty(s));
}

outcome try_receive(sim_ring& ring, request& r) {
    sim_socket* s = socket_of(r);
    if (s == nullptr) return outcome::finish(-ENOTSOCK);
    if (begins_with_waiting(r, interest::input)) return outcome::wait(interest::input);
    return r.multishot() ? receive_multishot(ring, r, *s) : receive_once(ring, r, *s);
}

constexpr unsigned copying_flags = IORING_RECVSEND_POLL_FIRST;

int take_bytes(request& r, unsigned known_flags) {
    if ((r.sqe.ioprio & ~known_flags) != 0 || r.sqe.addr2 != 0) return -EINVAL;
    if (r.sqe.file_index != 0 || r.selects_buffer()) return -EINVAL;
    r.pieces.push_back({reinterpret_cast<void*>(r.sqe.addr), r.sqe.len});
    return 0;
}

int take_message(request& r, unsigned known_flags) {
    if ((r.sqe.ioprio & ~known_flags) != 0 || r.sqe.addr2 != 0) return -EINVAL;
    if (r.sqe.file_index != 0 || r.selects_buffer()) return -EINVAL;
    const auto* message = reinterpret_cast<const msghdr*>(r.sqe.addr);
    if (message == nullptr) return -EFAULT;
    if (message->msg_controllen != 0) return -EINVAL;  // nothing that the simulation knows
    if (message->msg_iovlen > IOV_MAX) return -EMSGSIZE;
    r.pieces.assign(message->msg_iov, message->msg_iov + message->msg_iovlen);
    return 0;
}

int prepare_send(sim_ring&, request& r) { return take_bytes(r, copying_flags); }
int prepare_sendmsg(sim_ring&, request& r) { return take_message(r, copying_flags); }

int lend(sim_ring& ring, request& r) {
    if ((r.sqe.flags & IOSQE_CQE_SKIP_SUCCESS) != 0) return -EINVAL;
    r.lent = std::make_shared<lent_memory>(ring, r);
    return 0;
}

unsigned zero_copy_flags(const sim_ring& ring, bool may_be_fixed) noexcept {
    unsigned flags = copying_flags;
    if (ring.in().options.kernel.send_reports_use) flags |= IORING_SEND_ZC_REPORT_USAGE;
    if (may_be_fixed) flags |= IORING_RECVSEND_FIXED_BUF;
    return flags;
}

int prepare_send_zc(sim_ring& ring, request& r) {
    const bool fixed = (r.sqe.ioprio & IORING_RECVSEND_FIXED_BUF) != 0;
    if (const int failed = take_bytes(r, zero_copy_flags(ring, true)); failed != 0) return failed;
    if (!fixed && r.sqe.buf_group != 0) return -EINVAL;
    return lend(ring, r);
}

int prepare_sendmsg_zc(sim_ring& ring, request& r) {
    const unsigned known = zero_copy_flags(ring, ring.in().options.kernel.fixed_vectors);
    if (const int failed = take_message(r, known); failed != 0) return failed;
    return lend(ring, r);
}

// Whether all of it lies in the fixed buffer that it names, if it does.
bool in_place(const sim_ring& ring, const request& r) {
    if ((r.sqe.ioprio & IORING_RECVSEND_FIXED_BUF) == 0) return true;
    return std::all_of(r.pieces.begin(), r.pieces.end(), [&](const iovec& piece) {
        return ring.fixed().contains(r.sqe.buf_group, piece);
    });
}

// What is left to send, of the piece where that begins.
std::span<const std::byte> next_piece(const request& r) {
    std::size_t skip = r.done;
    for (const iovec& piece : r.pieces) {
        if (skip < piece.iov_len)
            return {static_cast<const std::byte*>(piece.iov_base) + skip, piece.iov_len - skip};
        skip -= piece.iov_len;
    }
    return {};
}

outcome end_send(sim_ring& ring, const request& r, int error) {
    if (r.done != 0) return outcome::finish(static_cast<std::int64_t>(r.done));
    if (error == -EPIPE && !has(r, MSG_NOSIGNAL))
        ring.in().fail("a send without MSG_NOSIGNAL raised SIGPIPE");
    return outcome::finish(error);
}

outcome try_send(sim_ring& ring, request& r) {
    sim_socket* s = socket_of(r);
    if (s == nullptr) return outcome::finish(-ENOTSOCK);
    if (r.zero_copy() && !in_place(ring, r)) return outcome::finish(-EFAULT);
    if (begins_with_waiting(r, interest::output)) return outcome::wait(interest::output);
    const bool can_wait = !has(r, MSG_DONTWAIT);
    if (!s->can_send_some()) {
        if (!can_wait) return end_send(ring, r, -EAGAIN);
        return outcome::wait(interest::output);
    }
    if (const auto instead = ring.intercept(r)) return *instead;
    for (;;) {
        const auto rest = next_piece(r);
        if (rest.empty() && r.done != 0) break;
        const auto part = rest.first(next_length(ring, r, rest.size()));
        const int sent = s->send(part, r.lent);
        if (sent == -EAGAIN && (r.done == 0 || has(r, MSG_WAITALL)) && can_wait)
            return outcome::wait(interest::output);
        if (sent < 0) return end_send(ring, r, sent);
        r.done += static_cast<std::size_t>(sent);
        if (rest.empty()) break;  // nothing was to be sent
        if (part.size() == rest.size()) continue;
        if (!has(r, MSG_WAITALL)) break;  // a partial send
        return outcome::wait(interest::output);
    }
    return outcome::finish(static_cast<std::int64_t>(r.done));
}

}  // namespace

const operation_kind receive_operation{prepare_receive, try_receive, true, interest::input};
const operation_kind send_operation{prepare_send, try_send, true, interest::output};
const operation_kind sendmsg_operation{prepare_sendmsg, try_send, true, interest::output};
const operation_kind send_zc_operation{prepare_send_zc, try_send, true, interest::output};
const operation_kind sendmsg_zc_operation{prepare_sendmsg_zc, try_send, true, interest::output};

}  // namespace sluice::sim
