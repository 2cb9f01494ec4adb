// SPDX-License-Identifier: Apache-2.0
#include "sluice/steering.hpp"

#include <linux/filter.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "runtime/kernel/kernel.hpp"
#include "sluice/listener.hpp"

namespace sluice {

namespace {

constexpr std::uint32_t no_socket = 0xffffffff;  // out of range: the kernel chooses itself

constexpr sock_filter instruction(unsigned code, std::uint32_t operand, std::uint8_t jump_true = 0,
                                  std::uint8_t jump_false = 0) {
    return {static_cast<std::uint16_t>(code), jump_true, jump_false, operand};
}

// bpf(4) and Documentation/networking/filter.rst: loads at these offsets give what the kernel knows
// of a packet instead of its bytes.
std::uint32_t source_of(steering by) noexcept {
    switch (by) {
        case steering::queue: return static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_QUEUE);
        case steering::cpu: return static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_CPU);
        default: return static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_RXHASH);
    }
}

std::vector<sock_filter> program(unsigned sockets, const steering_options& o) {
    // A hash of 0 is none.
    const std::uint32_t offset = o.by == steering::queue ? o.queue_offset : 0;
    const std::uint32_t lowest = o.by == steering::hash ? 1 : offset;
    std::vector<sock_filter> p;
    p.push_back(instruction(BPF_LD | BPF_W | BPF_ABS, source_of(o.by)));
    if (!o.values.empty()) {
        for (std::uint32_t i = 0; i < o.values.size(); ++i) {
            p.push_back(instruction(BPF_JMP | BPF_JEQ | BPF_K, o.values[i] + offset, 0, 1));
            p.push_back(instruction(BPF_RET | BPF_K, i));
        }
        p.push_back(instruction(BPF_RET | BPF_K, no_socket));
        return p;
    }
    p.push_back(instruction(BPF_JMP | BPF_JGE | BPF_K, lowest, 1, 0));
    p.push_back(instruction(BPF_RET | BPF_K, no_socket));
    p.push_back(instruction(BPF_ALU | BPF_SUB | BPF_K, offset));
    p.push_back(instruction(BPF_ALU | BPF_MOD | BPF_K, sockets));
    p.push_back(instruction(BPF_RET | BPF_A, 0));
    return p;
}

result<void> attach(detail::kernel& k, int descriptor, std::vector<sock_filter>& p) {
    if (p.size() > BPF_MAXINSNS) return errno_error(EINVAL);
    const sock_fprog attached{static_cast<unsigned short>(p.size()), p.data()};
    const int failed =
        k.set_option(descriptor, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &attached, sizeof attached);
    if (failed < 0) return errno_error(-failed);
    return {};
}

}  // namespace

steering_options steer_to_rx_queues(const zcrx_options& zcrx, unsigned reactors) {
    steering_options steer;
    if (reactors < 2 || zcrx.reactors_per_queue > 1 || zcrx.interface.empty() || !zcrx.wanted())
        return steer;
    steer.by = steering::queue;
    steer.queue_offset = 1;  // as NICs record it
    for (unsigned i = 0; i < reactors; ++i) steer.values.push_back(zcrx.first_queue + i);
    return steer;
}

result<void> detail::steer(kernel& k, int descriptor, unsigned sockets,
                           const steering_options& options) {
    if (options.by == steering::none) return {};
    if (!options.values.empty() && options.values.size() != sockets) return errno_error(EINVAL);
    auto p = program(sockets, options);
    return attach(k, descriptor, p);
}

result<queue_calibration> queue_calibration::open(const endpoint& at, std::uint32_t queues) {
    if (queues == 0 || queues > 1023) return errno_error(EINVAL);
    detail::kernel& k = detail::linux_kernel();
    auto group = listener_group::open(at, queues + 1);
    if (!group) return group.error();
    queue_calibration made(k, queues);
    made.local_ = group->local();
    made.descriptors_ = group->release();
    std::vector<sock_filter> plain{
        instruction(BPF_LD | BPF_W | BPF_ABS, source_of(steering::queue)),
        instruction(BPF_RET | BPF_A, 0),
    };
    if (auto attached = attach(k, made.descriptors_.front(), plain); !attached)
        return attached.error();
    return made;
}

queue_calibration::queue_calibration(queue_calibration&& o) noexcept
    : kernel_(o.kernel_),
      descriptors_(std::exchange(o.descriptors_, {})),
      seen_(std::move(o.seen_)),
      local_(o.local_) {}

queue_calibration::~queue_calibration() {
    for (const int fd : descriptors_) kernel_->close(fd);
}

std::size_t queue_calibration::observe() noexcept {
    std::size_t all = 0;
    for (std::size_t i = 0; i < descriptors_.size(); ++i) {
        for (int fd = kernel_->accept(descriptors_[i]); fd >= 0;
             fd = kernel_->accept(descriptors_[i])) {
            kernel_->close(fd);
            ++seen_[i];
        }
        all += seen_[i];
    }
    return all;
}

std::optional<std::uint32_t> queue_calibration::offset() const noexcept {
    const bool lowest = seen_.front() != 0;
    const bool highest = seen_.back() != 0;
    if (lowest == highest) return std::nullopt;
    return highest ? 1 : 0;
}

}  // namespace sluice
