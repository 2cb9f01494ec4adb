// SPDX-License-Identifier: Apache-2.0
//! The seam: every system call of a reactor goes through this interface. One implementation calls
//! Linux; another, in tests/sim, is a simulated kernel with a virtual clock and faults.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

struct io_uring_params;

namespace sluice::detail {

//! Every call returns what the system call returns, or the negative errno. One virtual call for a
//! system call; none for an SQE or a CQE, which are read and written in the mapped rings.
class kernel {
public:
    virtual ~kernel() = default;

    // io_uring_setup(2), io_uring_enter(2), io_uring_register(2)
    virtual int uring_setup(unsigned entries, io_uring_params& params) noexcept = 0;
    virtual int uring_enter(int ring, unsigned submit, unsigned wait, unsigned flags,
                            const void* argument, std::size_t argument_size) noexcept = 0;
    virtual int uring_register(int ring, unsigned opcode, void* argument,
                               unsigned count) noexcept = 0;

    //! A shared mapping of a ring's region at `offset`. Null and `error` set on failure.
    virtual void* map_ring(int ring, std::size_t length, std::uint64_t offset,
                           int& error) noexcept = 0;
    //! Private zeroed memory. Null and `error` set on failure.
    virtual void* map_memory(std::size_t length, int& error) noexcept = 0;
    //! Memory for a stack, with `guard` bytes below that must not be touched: mprotect(2). Returns
    //! the lowest usable address, null and `error` set on failure; unmap() takes both parts. Forked
    //! children have it too: a fiber may fork.
    virtual void* map_stack(std::size_t length, std::size_t guard, int& error) noexcept = 0;
    virtual void unmap(void* address, std::size_t length) noexcept = 0;
    //! Keeps memory out of forked children: madvise(MADV_DONTFORK).
    virtual void keep_from_children(void* address, std::size_t length) noexcept = 0;

    virtual int socket(int domain, int type, int protocol) noexcept = 0;
    //! Two stream sockets connected to each other: socketpair(2).
    virtual int connected_pair(int (&ends)[2]) noexcept {
        static_cast<void>(ends);
        return -EOPNOTSUPP;
    }
    virtual int bind(int fd, const sockaddr* address, socklen_t length) noexcept = 0;
    virtual int listen(int fd, int backlog) noexcept = 0;
    virtual int set_option(int fd, int level, int name, const void* value,
                           socklen_t length) noexcept = 0;
    virtual int get_option(int fd, int level, int name, void* value,
                           socklen_t& length) noexcept = 0;
    virtual int local_address(int fd, sockaddr* address, socklen_t& length) noexcept = 0;
    virtual int peer_address(int fd, sockaddr* address, socklen_t& length) noexcept = 0;
    virtual int close(int fd) noexcept = 0;
    //! A second descriptor of the same file: fcntl(2), F_DUPFD_CLOEXEC.
    virtual int duplicate(int fd) noexcept = 0;
    //! A descriptor whose only use is to be given up when there are no others.
    virtual int reserve_descriptor() noexcept = 0;
    //! Accepts one waiting connection, or -EAGAIN: poll(2), accept4(2).
    virtual int accept(int fd) noexcept = 0;
    //! Makes operations on `fd` wait: clears O_NONBLOCK, fcntl(2).
    virtual int make_blocking(int fd) noexcept = 0;

    //! Cuts or extends a file: ftruncate(2).
    virtual int resize(int fd, std::int64_t bytes) noexcept {
        static_cast<void>(fd);
        static_cast<void>(bytes);
        return -EOPNOTSUPP;
    }

    //! A counter that other threads write to wake the reactor: eventfd(2).
    virtual int wake_descriptor() noexcept = 0;
    //! From any thread.
    virtual void wake(int wake_descriptor) noexcept = 0;

    //! Monotonic time in nanoseconds.
    virtual std::int64_t now() noexcept = 0;
};

//! Linux.
kernel& linux_kernel() noexcept;

}  // namespace sluice::detail
