// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>

namespace sluice_load {

/// Lets connects begin in the order asked for, so many at a time and so far apart, lest the
/// server's backlog overflows: a dropped SYN costs a second and would be taken for latency.
class connect_gate {
public:
    connect_gate(boost::asio::io_context& context, std::size_t parallel,
                 std::chrono::nanoseconds interval);

    /// Calls begin_connect now or later; each call is answered by one settled().
    void request(std::function<void()> begin_connect);
    void settled();
    /// Forgets those still waiting, and tells how many they were.
    std::size_t clear();

private:
    void advance();
    void wait();

    boost::asio::steady_timer timer_;
    std::deque<std::function<void()>> waiting_;
    std::size_t parallel_;
    std::size_t in_progress_ = 0;
    std::chrono::nanoseconds interval_;
    std::chrono::steady_clock::time_point next_{};
    bool advancing_ = false;
    bool timing_ = false;
};

}  // namespace sluice_load
