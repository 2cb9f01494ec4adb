// SPDX-License-Identifier: Apache-2.0
//! SOCKET, ACCEPT, CONNECT, SHUTDOWN, CLOSE.
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "sim/operations.hpp"
#include "sim/sim_ring.hpp"
#include "sim/sim_socket.hpp"

namespace sluice::sim {

namespace {

sim_socket* socket_of(const request& r) noexcept { return dynamic_cast<sim_socket*>(r.file.get()); }

int prepare_accept(sim_ring& ring, request& r) {
    if (r.sqe.len != 0 || r.sqe.buf_group != 0) return -EINVAL;
    if ((r.sqe.ioprio & ~IORING_ACCEPT_MULTISHOT) != 0) return -EINVAL;
    if ((r.sqe.op_flags & ~static_cast<unsigned>(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0)
        return -EINVAL;
    if (r.sqe.file_index != 0) {
        if ((r.sqe.op_flags & SOCK_CLOEXEC) != 0) return -EINVAL;
        if (r.multishot() && r.sqe.file_index != IORING_FILE_INDEX_ALLOC) return -EINVAL;
    }
    // As in Linux, a later change of the limit does not reach a request that is armed.
    r.descriptor_limit = ring.in().options.descriptor_limit;
    return 0;
}

// The descriptor, or the slot, that a new socket gets.
int install(sim_ring& ring, const request& r, std::shared_ptr<sim_socket> made) {
    if (r.sqe.file_index == 0) return ring.descriptors().install(std::move(made));
    if (r.sqe.file_index == IORING_FILE_INDEX_ALLOC) return ring.files().install(std::move(made));
    return ring.files().install_at(r.sqe.file_index - 1, std::move(made));
}

int prepare_socket(sim_ring&, request& r) {
    if (r.sqe.addr != 0 || r.sqe.op_flags != 0 || r.sqe.buf_group != 0) return -EINVAL;
    const auto flags = static_cast<int>(r.sqe.addr2) & ~SOCK_STREAM;
    if ((flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) return -EINVAL;
    return r.sqe.file_index != 0 && (flags & SOCK_CLOEXEC) != 0 ? -EINVAL : 0;
}

outcome try_socket(sim_ring& ring, request& r) {
    if (r.sqe.fd != AF_INET && r.sqe.fd != AF_INET6) return outcome::finish(-EAFNOSUPPORT);
    return outcome::finish(install(ring, r, ring.make_socket(r.sqe.fd)));
}

void give_peer_address(const request& r, const sim_socket& accepted) {
    if (r.sqe.addr == 0 || r.sqe.addr2 == 0) return;
    sim_address peer;
    if (accepted.peer_address(peer) == 0)
        write_address(peer, reinterpret_cast<sockaddr*>(r.sqe.addr),
                      *reinterpret_cast<socklen_t*>(r.sqe.addr2));
}

outcome try_accept(sim_ring& ring, request& r) {
    sim_socket* s = socket_of(r);
    if (s == nullptr) return outcome::finish(-ENOTSOCK);
    for (;;) {
        // As in Linux, a descriptor is needed even to find out that nobody waits.
        if (r.sqe.file_index == 0 && !ring.descriptors().room(r.descriptor_limit))
            return outcome::finish(-EMFILE);
        if (s->more_to_accept())
            if (const auto instead = ring.intercept(r)) return *instead;
        int result = 0;
        auto accepted = s->accept(result);
        if (result == -EAGAIN) break;
        if (accepted != nullptr) {
            give_peer_address(r, *accepted);
            result = install(ring, r, std::move(accepted));
            if (result < 0) ++ring.in().books.connections_lost;
        }
        const bool tells = ring.in().options.kernel.accept_nonempty;
        const std::uint32_t flags = tells && s->more_to_accept() ? IORING_CQE_F_SOCK_NONEMPTY : 0;
        if (!r.multishot() || result < 0 || !ring.post_more(r, result, flags))
            return outcome::finish(result, result < 0 ? 0 : flags);
        if (tells && flags == 0) break;
    }
    return outcome::wait(interest::input);
}

int prepare_connect(sim_ring&, request& r) {
    if (r.sqe.len != 0 || r.sqe.buf_group != 0 || r.sqe.op_flags != 0 || r.sqe.file_index != 0)
        return -EINVAL;
    if (r.sqe.addr != 0 && r.sqe.addr2 >= sizeof(sa_family_t) &&
        reinterpret_cast<const sockaddr*>(r.sqe.addr)->sa_family == AF_UNSPEC) {
        r.disconnects = true;
        return 0;
    }
    const auto address = read_address(reinterpret_cast<const sockaddr*>(r.sqe.addr),
                                      static_cast<socklen_t>(r.sqe.addr2));
    if (!address) return -EINVAL;
    r.address = *address;
    return 0;
}

outcome try_connect(sim_ring& ring, request& r) {
    sim_socket* s = socket_of(r);
    if (s == nullptr) return outcome::finish(-ENOTSOCK);
    if (r.disconnects) return outcome::finish(s->disconnect());
    if (!std::exchange(r.started, true)) {
        const int begun = s->start_connect(r.address);
        return begun == -EINPROGRESS ? outcome::wait(interest::output) : outcome::finish(begun);
    }
    if (!s->ready(interest::output)) return outcome::wait(interest::output);
    if (const auto instead = ring.intercept(r)) return *instead;
    return outcome::finish(s->connect_result());
}

int prepare_shutdown(sim_ring&, request& r) {
    const bool plain = r.sqe.addr2 == 0 && r.sqe.addr == 0 && r.sqe.op_flags == 0 &&
                       r.sqe.buf_group == 0 && r.sqe.file_index == 0;
    return plain ? 0 : -EINVAL;
}

outcome try_shutdown(sim_ring&, request& r) {
    sim_socket* s = socket_of(r);
    if (s == nullptr) return outcome::finish(-ENOTSOCK);
    return outcome::finish(s->shutdown(static_cast<int>(r.sqe.len)));
}

int prepare_close(sim_ring&, request& r) {
    if (r.sqe.addr2 != 0 || r.sqe.addr != 0 || r.sqe.len != 0 || r.sqe.op_flags != 0 ||
        r.sqe.buf_group != 0)
        return -EINVAL;
    if ((r.sqe.flags & IOSQE_FIXED_FILE) != 0) return -EBADF;
    return r.sqe.file_index != 0 && r.sqe.fd != 0 ? -EINVAL : 0;
}

outcome try_close(sim_ring& ring, request& r) {
    if (r.sqe.file_index != 0) return outcome::finish(ring.files().close(r.sqe.file_index - 1));
    return outcome::finish(ring.descriptors().close(r.sqe.fd));
}

}  // namespace

const operation_kind socket_operation{prepare_socket, try_socket, false};
const operation_kind accept_operation{prepare_accept, try_accept, true, interest::input};
const operation_kind connect_operation{prepare_connect, try_connect, true, interest::output};
const operation_kind shutdown_operation{prepare_shutdown, try_shutdown, true, interest::output};
const operation_kind close_operation{prepare_close, try_close, false};

}  // namespace sluice::sim
