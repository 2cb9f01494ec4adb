// SPDX-License-Identifier: Apache-2.0
//! Which socket of a listener_group a new connection goes to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "sluice/endpoint.hpp"
#include "sluice/result.hpp"
#include "sluice/zcrx_options.hpp"

namespace sluice {

namespace detail {
class kernel;
}

//! By what the kernel chooses among the sockets of a group: a classic BPF program that looks at the
//! first packet of a connection (socket(7), SO_ATTACH_REUSEPORT_CBPF; Linux 4.5).
enum class steering : std::uint8_t {
    none,   //!< a hash of addresses and ports
    queue,  //!< the receive queue that the packet came by
    cpu,    //!< the CPU that handles the packet
    hash,   //!< the hash that the network interface has calculated
};

struct steering_options {
    steering by = steering::none;

    //! What the interface adds to the number of a queue when it records it: 0 or 1. Hardware
    //! records queue + 1, where 0 stands for nothing; veth records what the sender's queue was.
    //! queue_calibration tells.
    std::uint32_t queue_offset = 0;

    //! Socket i takes what has values[i] as queue, CPU or hash, and the kernel's own choice is left
    //! with the rest. Empty: the queue, CPU or hash modulo the number of sockets. With
    //! steering::cpu mostly service_options::cpus. EINVAL unless there is a value for each socket.
    std::vector<std::uint32_t> values{};
};

//! For listeners of reactors with an rx queue of an interface each: a connection goes to the
//! reactor whose queue its packets come by, since no other can read what lies there (EFAULT from
//! RECV_ZC). steering::none where there is nothing to choose: one reactor, no interface, or a queue
//! that reactors share.
steering_options steer_to_rx_queues(const zcrx_options& zcrx, unsigned reactors);

namespace detail {
//! Attaches the program to the group that the socket belongs to, which has `sockets` of them.
result<void> steer(kernel& k, int descriptor, unsigned sockets, const steering_options& options);
}  // namespace detail

//! Finds out by experiment what an interface adds to the numbers of its queues: a group of sockets
//! that are chosen by the plain number. Connect to it through the interface, from several addresses
//! or ports, so that every queue is met; then ask.
class queue_calibration {
public:
    //! Listens for an interface that has so many receive queues. Errors: those of
    //! listener_group::open(); EINVAL without queues or with more than 1023.
    static result<queue_calibration> open(const endpoint& at, std::uint32_t queues);

    queue_calibration(queue_calibration&& o) noexcept;
    queue_calibration& operator=(queue_calibration&&) = delete;
    ~queue_calibration();

    [[nodiscard]] const endpoint& local() const noexcept { return local_; }

    //! Accepts and closes what waits. Returns the number of connections so far.
    std::size_t observe() noexcept;

    //! By number, as recorded: how many connections came. The last number is that of the queues.
    [[nodiscard]] const std::vector<std::size_t>& seen() const noexcept { return seen_; }

    //! 0 or 1; nothing while the connections seen do not tell, because neither the lowest nor the
    //! highest number was among them, or both were.
    [[nodiscard]] std::optional<std::uint32_t> offset() const noexcept;

private:
    queue_calibration(detail::kernel& kernel, std::uint32_t queues)
        : kernel_(&kernel), seen_(queues + 1) {}
    detail::kernel* kernel_;
    std::vector<int> descriptors_;
    std::vector<std::size_t> seen_;
    endpoint local_;
};

}  // namespace sluice
