// SPDX-License-Identifier: Apache-2.0
//! The echo server itself.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

#include <sluice/sluice.hpp>

#include "../common/core_server.hpp"
#include "options.hpp"

namespace echo {

//! What one reactor has done so far.
struct figures {
    std::uint64_t messages = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t zero_copy_bytes = 0;
    std::uint64_t bytes_out = 0;
    std::uint64_t connections = 0;
    std::uint64_t enters = 0;
    std::uint64_t enobufs = 0;
    std::uint64_t capped = 0;
};

class server;

//! A reactor's share: its own count, and its figures for the one that prints, set together now and
//! then.
struct core {
    sluice::task<> echo(sluice::tcp_stream conn);
    void count_message();

    server* whole = nullptr;
    std::uint64_t messages = 0;
    std::mutex mutex;
    figures published;
};

//! All reactors' share of one server.
class server final : public demo::core_server {
public:
    server(const options& o, sluice::service& service, demo::succession& succession)
        : core_server("sluice-echo", service, succession, o.reactor.zcrx),
          options_(o),
          cores_(service.reactors()) {
        for (core& c : cores_) c.whole = this;
    }

    //! What runs on each reactor.
    sluice::task<> run(sluice::reactor& home);

    //! Received chunks. To be called when the service has ended.
    [[nodiscard]] std::uint64_t messages() const;

private:
    friend struct core;
    sluice::task<> publish(sluice::reactor& home);
    sluice::task<> print();
    figures sum_of_published();

    const options& options_;
    std::vector<core> cores_;
    const std::chrono::nanoseconds idle_ = options_.idle_timeout.count() > 0
                                               ? std::chrono::nanoseconds(options_.idle_timeout)
                                               : std::chrono::nanoseconds::max();
    std::atomic<std::uint64_t> left_until_exit_{options_.exit_after_messages};
};

}  // namespace echo
