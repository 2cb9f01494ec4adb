// SPDX-License-Identifier: Apache-2.0
//! What a demo has received, how much of it without a copy, and where its connections have lived:
//! the lines at its end.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include <sluice/net_stats.hpp>
#include <sluice/options.hpp>
#include <sluice/reactor.hpp>

namespace demo {

class receive_report {
public:
    explicit receive_report(const sluice::zcrx_options& zcrx);

    //! By each reactor, when its connections have ended.
    void add(sluice::reactor& home);

    //! Lines; empty if no reactor has had an rx queue. When the service has ended.
    [[nodiscard]] std::string to_string() const;

private:
    const std::uint32_t reactors_per_queue_;
    std::mutex mutex_;
    bool has_queue_ = false;
    sluice::net_stats sum_;     // of what is told
    std::uint64_t copied_ = 0;  // bytes, by the kernel
};

}  // namespace demo
