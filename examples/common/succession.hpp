// SPDX-License-Identifier: Apache-2.0
//! The life of a demo with a NIC: --hand-over lets one that is started again take over from the one
//! that runs, and privileges are dropped when all have what they need.
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include <sluice/sluice.hpp>

#include "command_line.hpp"
#include "receive_options.hpp"

namespace demo {

struct succession_options {
    std::string path;  // of the Unix socket; empty: nobody is asked, and nobody will ask
    bool keep_privileges = false;  // although a NIC was set up
};

//! Declares --hand-over and --keep-privileges.
void add_succession_options(command_line& line, succession_options& to);

//! The listening sockets and the NIC, from whomever they come. Must outlive the service.
class succession {
public:
    //! Takes over from the process that listens at the path, which drains from then on; else sets
    //! all up anew. Fills in `service` and `listen` what follows from the NIC.
    sluice::nic_result<> begin(const command_line& line, const nic_options& nic,
                               const succession_options& how, sluice::service_options& service,
                               sluice::listen_options& listen);

    [[nodiscard]] const sluice::listener_group& listeners() const { return *listeners_; }

    //! On each reactor, with its listener open: does what is to be done while the service runs,
    //! until `scope` is stopped.
    void run_in(sluice::nursery& scope, sluice::reactor& home, sluice::service& all);

private:
    //! When all reactors have their rx queue, connections are led there and privileges are dropped.
    sluice::task<> settle(sluice::reactor& home, unsigned reactors);
    //! On one reactor: waits for the next process, hands everything to it and stops the service.
    sluice::task<> await_successor(sluice::reactor& home, sluice::service& service);
    //! On one reactor: when the service drains, connections are led away from the rx queues first.
    sluice::task<> withdraw();
    sluice::nic_result<bool> take_over(const succession_options& how, const nic_options& nic,
                                       sluice::service_options& service,
                                       const sluice::listen_options& listen);
    sluice::nic_result<> meet(const succession_options& how);
    sluice::task<bool> offer(sluice::tcp_stream to);

    std::optional<sluice::nic_session> nic_;
    std::optional<sluice::listener_group> listeners_;
    std::optional<sluice::listener_group> meeting_;  // where the next process comes to
    bool steered_ = true;                            // adopted: not yet
    bool left_ = false;                              // the NIC is another process's
    bool drops_privileges_ = false;
    std::atomic<unsigned> settled_{0};        // reactors that have their queue, or can have none
    std::atomic<unsigned> ready_to_drop_{0};  // and reach those of the others
};

}  // namespace demo
