// SPDX-License-Identifier: Apache-2.0
#include <linux/io_uring.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "runtime/kernel/kernel.hpp"

namespace sluice::detail {

namespace {

template <class T>
int checked(T returned) noexcept {
    return returned < 0 ? -errno : static_cast<int>(returned);
}

void* checked_map(void* address, int& error) noexcept {
    if (address != MAP_FAILED) return address;
    error = errno;
    return nullptr;
}

// Made more often than all other calls together: not by way of syscall(2) and errno, where the
// instruction is known.
int enter_directly(int ring, unsigned submit, unsigned wait, unsigned flags, const void* argument,
                   std::size_t argument_size) noexcept {
#if defined(__x86_64__) && defined(__LP64__)
    register std::uint64_t fourth __asm__("r10") = flags;
    register const void* fifth __asm__("r8") = argument;
    register std::size_t sixth __asm__("r9") = argument_size;
    std::int64_t returned = __NR_io_uring_enter;
    __asm__ volatile("syscall"
                     : "+a"(returned)
                     : "D"(ring), "S"(submit), "d"(wait), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return static_cast<int>(returned);
#else
    return checked(
        ::syscall(__NR_io_uring_enter, ring, submit, wait, flags, argument, argument_size));
#endif
}

class real final : public kernel {
public:
    int uring_setup(unsigned entries, io_uring_params& params) noexcept override {
        return checked(::syscall(__NR_io_uring_setup, entries, &params));
    }
    int uring_enter(int ring, unsigned submit, unsigned wait, unsigned flags, const void* argument,
                    std::size_t argument_size) noexcept override {
        return enter_directly(ring, submit, wait, flags, argument, argument_size);
    }
    int uring_register(int ring, unsigned opcode, void* argument,
                       unsigned count) noexcept override {
        return checked(::syscall(__NR_io_uring_register, ring, opcode, argument, count));
    }
    void* map_ring(int ring, std::size_t length, std::uint64_t offset,
                   int& error) noexcept override {
        void* p = checked_map(::mmap(nullptr, length, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_POPULATE, ring, static_cast<off_t>(offset)),
                              error);
        if (p != nullptr) keep_from_children(p, length);
        return p;
    }
    void* map_memory(std::size_t length, int& error) noexcept override {
        void* p = checked_map(
            ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            error);
        if (p != nullptr) keep_from_children(p, length);
        return p;
    }
    void* map_stack(std::size_t length, std::size_t guard, int& error) noexcept override {
        // MAP_STACK keeps huge pages away: a stack needs its memory as it grows.
        void* p =
            checked_map(::mmap(nullptr, guard + length, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0),
                        error);
        if (p == nullptr) return nullptr;
        if (::mprotect(p, guard, PROT_NONE) != 0) {
            error = errno;
            ::munmap(p, guard + length);
            return nullptr;
        }
        return static_cast<std::byte*>(p) + guard;
    }
    void unmap(void* address, std::size_t length) noexcept override { ::munmap(address, length); }
    void keep_from_children(void* address, std::size_t length) noexcept override {
        ::madvise(address, length, MADV_DONTFORK);
    }

    int socket(int domain, int type, int protocol) noexcept override {
        return checked(::socket(domain, type | SOCK_CLOEXEC, protocol));
    }
    int connected_pair(int (&ends)[2]) noexcept override {
        return checked(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    }
    int bind(int fd, const sockaddr* address, socklen_t length) noexcept override {
        return checked(::bind(fd, address, length));
    }
    int listen(int fd, int backlog) noexcept override { return checked(::listen(fd, backlog)); }
    int set_option(int fd, int level, int name, const void* value,
                   socklen_t length) noexcept override {
        return checked(::setsockopt(fd, level, name, value, length));
    }
    int get_option(int fd, int level, int name, void* value, socklen_t& length) noexcept override {
        return checked(::getsockopt(fd, level, name, value, &length));
    }
    int local_address(int fd, sockaddr* address, socklen_t& length) noexcept override {
        return checked(::getsockname(fd, address, &length));
    }
    int peer_address(int fd, sockaddr* address, socklen_t& length) noexcept override {
        return checked(::getpeername(fd, address, &length));
    }
    int close(int fd) noexcept override { return checked(::close(fd)); }
    int duplicate(int fd) noexcept override { return checked(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }
    int reserve_descriptor() noexcept override {
        return checked(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    int accept(int fd) noexcept override {
        pollfd waiting{fd, POLLIN, 0};
        if (::poll(&waiting, 1, 0) != 1) return -EAGAIN;
        return checked(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
    }
    int make_blocking(int fd) noexcept override {
        const int flags = ::fcntl(fd, F_GETFL);
        if (flags < 0) return -errno;
        return checked(::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK));
    }
    int resize(int fd, std::int64_t bytes) noexcept override {
        return checked(::ftruncate(fd, bytes));
    }
    int wake_descriptor() noexcept override { return checked(::eventfd(0, EFD_CLOEXEC)); }
    void wake(int wake_descriptor) noexcept override {
        const std::uint64_t one = 1;
        // Fails only when the counter is full, and then the reactor is awake already.
        [[maybe_unused]] const auto written = ::write(wake_descriptor, &one, sizeof one);
    }
    std::int64_t now() noexcept override {
        timespec t{};
        ::clock_gettime(CLOCK_MONOTONIC, &t);
        return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
    }
};

}  // namespace

kernel& linux_kernel() noexcept {
    static real instance;
    return instance;
}

}  // namespace sluice::detail
