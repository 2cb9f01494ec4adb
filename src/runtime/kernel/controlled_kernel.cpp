// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/controlled_kernel.hpp"

#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sluice::detail {

namespace {

// How long a wait looks for completions before time moves: what Linux does on threads of its own
// must not lose against a timeout. TCP's packets are taken by a thread that has to wait for its
// turn on a busy machine; sockets in memory need none.
constexpr long settle_ns = 1'000'000;
constexpr long settle_with_tcp_ns = 50'000'000;
// Not 0, which is a common mistake to start from.
constexpr std::int64_t first_time = 1'000'000'000'000;

class implementation final : public controlled_kernel {
public:
    // --- what is different

    int uring_setup(unsigned entries, io_uring_params& params) noexcept override {
        const int fd = below_.uring_setup(entries, params);
        if (fd >= 0) params_ = params;
        return fd;
    }
    void* map_ring(int ring, std::size_t length, std::uint64_t offset,
                   int& error) noexcept override {
        void* mapped = below_.map_ring(ring, length, offset, error);
        (offset == IORING_OFF_SQES ? sqes_ : rings_) = mapped;
        return mapped;
    }
    int uring_enter(int ring, unsigned submit, unsigned wait, unsigned flags, const void* argument,
                    std::size_t argument_size) noexcept override {
        for (unsigned i = 0; i < submit; ++i) look_at(sqe(i));
        const auto* given = static_cast<const io_uring_getevents_arg*>(argument);
        if (wait == 0 || given == nullptr || given->ts == 0)
            return below_.uring_enter(ring, submit, wait, flags, argument, argument_size);
        __kernel_timespec asked{};
        std::memcpy(&asked, reinterpret_cast<const void*>(given->ts), sizeof asked);
        const __kernel_timespec settle{0, has_tcp_ ? settle_with_tcp_ns : settle_ns};
        io_uring_getevents_arg shorter = *given;
        shorter.ts = reinterpret_cast<std::uint64_t>(&settle);
        const int entered = below_.uring_enter(ring, submit, wait, flags & ~IORING_ENTER_ABS_TIMER,
                                               &shorter, sizeof shorter);
        const std::int64_t time = asked.tv_sec * 1'000'000'000 + asked.tv_nsec;
        const bool absolute = (flags & IORING_ENTER_ABS_TIMER) != 0;
        if (cq_empty() && (entered >= 0 || entered == -ETIME))
            now_ = absolute ? std::max(now_, time) : now_ + time;
        return entered;
    }
    std::int64_t now() noexcept override { return now_; }

    void advance(std::int64_t ns) noexcept override { now_ += ns; }
    [[nodiscard]] std::uint64_t requests() const noexcept override { return requests_; }
    void fail_at(std::uint64_t n, int error) noexcept override {
        fail_at_ = n;
        error_ = error;
    }

    // --- what is not

    int uring_register(int ring, unsigned opcode, void* argument,
                       unsigned count) noexcept override {
        return below_.uring_register(ring, opcode, argument, count);
    }
    void* map_memory(std::size_t length, int& error) noexcept override {
        return below_.map_memory(length, error);
    }
    void* map_stack(std::size_t length, std::size_t guard, int& error) noexcept override {
        return below_.map_stack(length, guard, error);
    }
    void unmap(void* address, std::size_t length) noexcept override {
        below_.unmap(address, length);
    }
    void keep_from_children(void* address, std::size_t length) noexcept override {
        below_.keep_from_children(address, length);
    }
    int socket(int domain, int type, int protocol) noexcept override {
        has_tcp_ = has_tcp_ || domain != AF_UNIX;
        return below_.socket(domain, type, protocol);
    }
    int connected_pair(int (&ends)[2]) noexcept override { return below_.connected_pair(ends); }
    int bind(int fd, const sockaddr* address, socklen_t length) noexcept override {
        return below_.bind(fd, address, length);
    }
    int listen(int fd, int backlog) noexcept override { return below_.listen(fd, backlog); }
    int set_option(int fd, int level, int name, const void* value,
                   socklen_t length) noexcept override {
        return below_.set_option(fd, level, name, value, length);
    }
    int get_option(int fd, int level, int name, void* value, socklen_t& length) noexcept override {
        return below_.get_option(fd, level, name, value, length);
    }
    int local_address(int fd, sockaddr* address, socklen_t& length) noexcept override {
        return below_.local_address(fd, address, length);
    }
    int peer_address(int fd, sockaddr* address, socklen_t& length) noexcept override {
        return below_.peer_address(fd, address, length);
    }
    int close(int fd) noexcept override { return below_.close(fd); }
    int duplicate(int fd) noexcept override { return below_.duplicate(fd); }
    int reserve_descriptor() noexcept override { return below_.reserve_descriptor(); }
    int accept(int fd) noexcept override { return below_.accept(fd); }
    int make_blocking(int fd) noexcept override { return below_.make_blocking(fd); }
    int resize(int fd, std::int64_t bytes) noexcept override { return below_.resize(fd, bytes); }
    int wake_descriptor() noexcept override { return below_.wake_descriptor(); }
    void wake(int wake_descriptor) noexcept override { below_.wake(wake_descriptor); }

private:
    std::uint32_t* word(std::uint32_t offset) const noexcept {
        return reinterpret_cast<std::uint32_t*>(static_cast<std::byte*>(rings_) + offset);
    }
    // The i-th that has not been submitted: the ring puts them into the array in order.
    io_uring_sqe& sqe(unsigned i) const noexcept {
        const std::uint32_t head = __atomic_load_n(word(params_.sq_off.head), __ATOMIC_ACQUIRE);
        return static_cast<io_uring_sqe*>(sqes_)[(head + i) & (params_.sq_entries - 1)];
    }
    [[nodiscard]] bool cq_empty() const noexcept {
        return __atomic_load_n(word(params_.cq_off.tail), __ATOMIC_ACQUIRE) ==
               *word(params_.cq_off.head);
    }

    void look_at(io_uring_sqe& s) noexcept {
        switch (s.opcode) {
            case IORING_OP_NOP:
            case IORING_OP_READ:      // of the descriptor that wakes the reactor
            case IORING_OP_MSG_RING:  // that wakes another one
            case IORING_OP_CLOSE:
            case IORING_OP_ASYNC_CANCEL: return;
            default: break;
        }
        if (s.user_data == 0) return;  // of no operation: what a ring is asked at its start
        if (++requests_ != fail_at_) return;
        const std::uint64_t identity = s.user_data;
        s = io_uring_sqe{};
        s.opcode = IORING_OP_NOP;
        s.nop_flags = IORING_NOP_INJECT_RESULT;
        s.len = static_cast<std::uint32_t>(-error_);
        s.user_data = identity;
    }

    kernel& below_ = linux_kernel();
    std::int64_t now_ = first_time;
    bool has_tcp_ = false;
    io_uring_params params_{};
    void* rings_ = nullptr;
    void* sqes_ = nullptr;
    std::uint64_t requests_ = 0;
    std::uint64_t fail_at_ = 0;
    int error_ = 0;
};

}  // namespace

std::unique_ptr<controlled_kernel> controlled_kernel::create() {
    return std::make_unique<implementation>();
}

}  // namespace sluice::detail
