// SPDX-License-Identifier: Apache-2.0
//! Streams from the other end of the software NIC's cable, and what tests ask about them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "sluice/listener.hpp"
#include "vm/nic_rig.hpp"
#include "vm/zcrx.hpp"

namespace sluice::testing {

//! A listener at the NIC's address. Its group lives as long.
struct nic_listener {
    listener_group group;
    tcp_listener listener;
};

//! Fails the test if the reactor cannot have its queue.
nic_listener listen_on(reactor& home, std::uint16_t port);

//! Why the reactor cannot listen in mode zc; empty if it can.
std::string why_not_listening(reactor& home);

//! A stream whose bytes come to that queue, and the sender's socket.
task<wire> make_nic_wire(reactor& home, nic_rig& nic, unsigned queue = nic_rig::queue);

//! Receives a stream of `bytes` on a reactor of its own, checks every one, and the books.
zcrx_outcome nic_transfer(nic_rig& nic, std::uint64_t bytes, const reactor_options& options);

//! Receives to the end of the stream; gives how many bytes came, all of them checked.
task<std::uint64_t> receive_checked(tcp_stream& stream, std::uint64_t seed);

//! Sends one byte of UDP from that port, on the calling thread's namespace.
void send_datagram(const endpoint& to, std::uint16_t from_port);

//! Waits until it holds, up to 20 seconds; gives whether it does.
template <class F>
bool soon(F condition) {
    for (int i = 0; i < 400 && !condition(); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return condition();
}

}  // namespace sluice::testing
