// SPDX-License-Identifier: Apache-2.0
//! The echo server itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include <sluice/sluice.hpp>

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

//! A reactor's own count, and its figures for the one that prints, set together now and then.
struct core {
    std::uint64_t messages = 0;
    std::mutex mutex;
    figures published;
};

//! All reactors' share of one server.
class server {
public:
    server(const options& o, sluice::service& service, const sluice::listener_group& listeners)
        : options_(o), service_(service), listeners_(listeners), cores_(service.reactors()) {}

    //! What runs on each reactor.
    sluice::task<> run(sluice::reactor& home);

    //! Received chunks. To be called when the service has ended.
    [[nodiscard]] std::uint64_t messages() const;

    //! Whether a reactor could not do its share; the reason has been printed.
    [[nodiscard]] bool failed() const { return failed_; }

private:
    sluice::task<> echo(sluice::tcp_stream conn, core& mine);
    sluice::task<> publish(sluice::reactor& home);
    sluice::task<> print();
    void count_message(core& mine);
    void announce() const;
    void fail(const std::string& why);
    figures sum_of_published();

    const options& options_;
    sluice::service& service_;
    const sluice::listener_group& listeners_;
    std::vector<core> cores_;
    std::atomic<std::size_t> started_{0};
    std::atomic<bool> failed_{false};
    std::atomic<std::uint64_t> left_until_exit_{options_.exit_after_messages};
};

}  // namespace echo
