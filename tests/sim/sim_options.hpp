// SPDX-License-Identifier: Apache-2.0
//! The size and the temper of a simulated world.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sim/profile.hpp"

namespace sluice::sim {

//! Times are nanoseconds of virtual time, probabilities between 0 and 1.
struct sim_options {
    profile kernel = kernel_6_18();

    unsigned descriptor_limit = 1024;  //!< RLIMIT_NOFILE: no descriptor is this high or higher
    unsigned somaxconn = 4096;         //!< the most that a listener's backlog can be

    std::size_t send_buffer = 64 * 1024;     //!< default of SO_SNDBUF: sent and not arrived
    std::size_t receive_buffer = 64 * 1024;  //!< default of SO_RCVBUF: arrived and not read
    std::size_t segment_bytes = 16 * 1024;   //!< the largest segment; the size is random
    std::int64_t latency_min = 10'000;       //!< of a segment, one way
    std::int64_t latency_max = 200'000;
    double merge_rate = 0.25;  //!< a segment arrives together with the one before it

    std::int64_t enter_cost = 1'000;  //!< time that an io_uring_enter takes
    std::int64_t look_cost = 100;     //!< time that reading the clock takes: a busy loop gets on

    double punt_rate = 0.1;   //!< a request is not tried when it is submitted, but later
    double split_rate = 0.2;  //!< a transfer moves less than it could
    double hold_rate = 0.05;  //!< what was done is reported later: the request is executing
    std::int64_t hold_time = 500'000;  //!< at most
    double reorder_rate = 0.5;         //!< of completions that do not depend on each other
    double cancel_race_rate = 0.5;  //!< a cancel comes too late for a request that is about to end
    double overflow_ends_rate = 0.75;  //!< a multishot request ends when the CQ overflows

    double copied_rate = 0.3;                   //!< a zero-copy send is reported as copied
    double late_notice_rate = 0.5;              //!< its notification comes later than it could
    std::int64_t late_notice_time = 2'000'000;  //!< at most
    double stuck_notice_rate = 0;               //!< it does not come before the connection is reset
    std::size_t lockable = std::size_t{1} << 30;  //!< RLIMIT_MEMLOCK, for fixed buffers and areas
    bool net_admin = true;                        //!< CAP_NET_ADMIN, for rx queues

    std::uint64_t call_limit = 20'000'000;  //!< enters and looks at the clock; more is a livelock

    bool poison_returned_buffers = true;  //!< overwrites buffers and chunks that come back
};

//! Nothing at random but the latencies: for tests that look at single steps.
inline sim_options quiet_options(profile kernel = kernel_6_18()) noexcept {
    sim_options o;
    o.kernel = kernel;
    o.segment_bytes = std::size_t{1} << 30;
    o.latency_max = o.latency_min;
    o.merge_rate = 0;
    o.punt_rate = 0;
    o.split_rate = 0;
    o.hold_rate = 0;
    o.reorder_rate = 0;
    o.cancel_race_rate = 0;
    o.overflow_ends_rate = 1;
    o.copied_rate = 0;
    o.late_notice_rate = 0;
    return o;
}

}  // namespace sluice::sim
