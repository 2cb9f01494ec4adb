// SPDX-License-Identifier: Apache-2.0
//! The software NIC of tests/vm/nic: a fresh pair of interfaces for each test, the other end of the
//! cable in a network namespace of its own. Wants root, in a virtual machine: scripts/vm --nic.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "loopback/plain_socket.hpp"
#include "loopback/veth_pair.hpp"
#include "sluice/endpoint.hpp"
#include "sluice/options.hpp"

namespace sluice::testing {

//! Prints why the test is skipped if the module is not loaded.
bool has_nic();

//! sw0 is here, with 10.78.0.1; sw1 with 10.78.0.2 in the namespace `peer`. Header/data split is
//! on, and no flow comes to another queue than 0 unless it is steered there. One at a time.
class nic_rig {
public:
    static constexpr unsigned queue = 1;  //!< where steer() leads to, unless told otherwise

    //! Throws std::runtime_error with the command that failed.
    nic_rig();
    ~nic_rig();
    nic_rig(const nic_rig&) = delete;
    nic_rig& operator=(const nic_rig&) = delete;

    //! Takes the pair away, as when a NIC is pulled; plug() brings a new one.
    void unplug();
    void plug();

    //! Runs a shell command on this side, and says whether it succeeded; `ethtool` and `ip` are
    //! there.
    [[nodiscard]] static bool run(const std::string& command);
    //! The same in the peer's namespace.
    [[nodiscard]] static bool run_at_peer(const std::string& command);
    //! What it prints.
    [[nodiscard]] static std::string output_of(const std::string& command);

    //! A parameter of the module; all faults end with the rig.
    void set(const std::string& parameter, unsigned value);
    void set_mtu(unsigned bytes);
    //! TCP connections to this port of ours arrive at that queue.
    void steer(std::uint16_t port, unsigned to = queue);

    //! A counter of `ethtool -S sw0`, e.g. ("split", 1).
    [[nodiscard]] static std::uint64_t counter(std::string_view name, unsigned of = queue) {
        return counters(name)[of];
    }
    //! The same of all four queues.
    [[nodiscard]] static std::array<std::uint64_t, 4> counters(std::string_view name);

    //! Runs `fn` on a thread in the peer's namespace, and waits for it.
    template <class F>
    static void at_peer(F fn) {
        if (!in_namespace("peer", std::move(fn)))
            throw std::runtime_error("there is no network namespace `peer`");
    }
    //! Connects from there.
    static plain_socket connect_from_peer(const endpoint& to);

    [[nodiscard]] static endpoint address(std::uint16_t port) {
        return endpoint::of("10.78.0.1", port).value();
    }
};

//! A reactor on the queue, with so many chunks that never grow, copies only where the ladder
//! demands.
reactor_options on_nic(std::uint32_t chunks, unsigned queue = nic_rig::queue);

}  // namespace sluice::testing
