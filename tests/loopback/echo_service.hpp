// SPDX-License-Identifier: Apache-2.0
//! An echo server on several reactors, for clients of all kinds.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "sluice/listener.hpp"
#include "sluice/net_stats.hpp"
#include "sluice/service.hpp"

namespace sluice::testing {

struct echo_options {
    unsigned reactors = 2;
    service_options service{};
    listen_options listen{};
    bool ends_when_draining = false;  //!< a connection ends after the message it is at
    std::string throws_at;            //!< a chunk that makes the handler throw; empty: none
};

//! Runs from construction to stop(); the destructor stops it, too. Throws when it can't start.
class echo_service {
public:
    explicit echo_service(const echo_options& options = {});
    ~echo_service();
    echo_service(const echo_service&) = delete;
    echo_service& operator=(const echo_service&) = delete;

    [[nodiscard]] const endpoint& local() const noexcept { return local_; }
    [[nodiscard]] service& runner() noexcept { return *service_; }

    //! The counters of the net layers added up, at this moment.
    net_stats net();

    //! Stops, waits and reports; resets the connections that nobody has accepted.
    stop_report stop();

private:
    task<> serve_on(reactor& home);
    task<> echo(tcp_stream stream);

    echo_options options_;
    endpoint local_;
    std::unique_ptr<listener_group> group_;
    std::unique_ptr<service> service_;
    bool running_ = false;
};

}  // namespace sluice::testing
