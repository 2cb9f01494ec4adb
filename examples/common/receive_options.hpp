// SPDX-License-Identifier: Apache-2.0
//! The options of every demo that receives: with or without copies, into what, and from which NIC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sluice/cpu_placement.hpp>
#include <sluice/listener.hpp>
#include <sluice/nic_session.hpp>
#include <sluice/options.hpp>

#include "command_line.hpp"

namespace demo {

//! What --nic and its company say.
struct nic_options {
    std::string interface;  // empty: no NIC is set up
    std::string queues = "auto";
    std::uint16_t steer_port = 0;
    std::vector<std::uint16_t> peer_ports;  // whose replies are led to the queues too
    sluice::irq_place irqs = sluice::irq_place::as_it_is;
    bool place = true;  // connections on the cores of their rx queues
};

//! Declares --mode and --zcrx with what belongs to them; `to` gets their values when the line is
//! parsed.
void add_receive_options(command_line& line, sluice::reactor_options& to);

//! Declares --nic, --rx-queues, --steer, --irq-place and --placement.
void add_nic_options(command_line& line, nic_options& to);

//! How many reactors the service will have.
unsigned reactors_of(const sluice::service_options& service);

//! Sets the NIC up where the line asks for it, and names its queues in `service`. The session must
//! outlive the service. Where the mode leaves the choice and it can't be had, there is none, and a
//! warning says why.
sluice::nic_result<std::optional<sluice::nic_session>> set_up_nic(const nic_options& from,
                                                                  sluice::service_options& service);

//! Makes the listeners of a service with that many reactors do what --placement says.
void place_connections(const nic_options& as, const sluice::zcrx_options& zcrx, unsigned reactors,
                       sluice::listen_options& listen);

//! A NIC that another process has set up and leaves to this one, with its lock.
class nic_adoption {
public:
    nic_adoption(nic_options from, int lock) : from_(std::move(from)), lock_(lock) {}

    //! Whether the line fits; before the other process is told to leave.
    sluice::nic_result<> check(const sluice::service_options& service);
    //! Then: like set_up_nic(). Without a lock the NIC is set up.
    sluice::nic_result<std::optional<sluice::nic_session>> go_on(sluice::service_options& service);

private:
    nic_options from_;
    int lock_;  // -1: none
    sluice::nic_request wanted_;
};

}  // namespace demo
