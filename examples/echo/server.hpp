// SPDX-License-Identifier: Apache-2.0
//! The echo server itself.
#pragma once

#include <atomic>
#include <cstdint>

#include <sluice/sluice.hpp>

#include "options.hpp"

namespace echo {

//! Counted by one reactor, read by the one that prints.
struct counters {
    std::atomic<std::uint64_t> messages{0};
    std::atomic<std::uint64_t> bytes_in{0};
    std::atomic<std::uint64_t> bytes_out{0};
    std::atomic<std::uint64_t> connections{0};
    std::atomic<std::uint64_t> enters{0};
    std::atomic<std::uint64_t> enobufs{0};
    std::atomic<std::uint64_t> capped{0};
};

//! All reactors' share of one server.
class server {
public:
    server(const options& o, sluice::service& service, const sluice::listener_group& listeners)
        : options_(o), service_(service), listeners_(listeners), cores_(service.reactors()) {}

    //! What runs on each reactor.
    sluice::task<> run(sluice::reactor& home);

    [[nodiscard]] std::uint64_t messages() const;

private:
    sluice::task<> echo(sluice::tcp_stream conn, counters& mine);
    sluice::task<> publish(sluice::reactor& home);
    sluice::task<> print();
    void message_received(counters& mine, std::size_t bytes);

    const options& options_;
    sluice::service& service_;
    const sluice::listener_group& listeners_;
    std::vector<counters> cores_;
    std::atomic<std::uint64_t> left_until_exit_{options_.exit_after_messages};
};

}  // namespace echo
