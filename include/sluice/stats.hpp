// SPDX-License-Identifier: Apache-2.0
//! What a reactor counts. Plain counters, written by the reactor's thread only.
#pragma once

#include <cstdint>

namespace sluice {

struct reactor_stats {
    std::uint64_t turns = 0;           //!< of the loop
    std::uint64_t enters = 0;          //!< io_uring_enter calls
    std::uint64_t sqes = 0;            //!< submitted
    std::uint64_t cqes = 0;            //!< reaped
    std::uint64_t resumes = 0;         //!< coroutines taken from the ready list
    std::uint64_t cq_overflows = 0;    //!< turns in which the CQ was found to have overflowed
    std::uint64_t sq_full_parks = 0;   //!< submissions that had to wait for room in the SQ
    std::uint64_t timers_expired = 0;  //!< sleeps and timeouts that came due
    std::uint64_t wake_ups = 0;        //!< by other threads
    std::uint64_t wake_ups_sent = 0;   //!< to other reactors: one at most a turn for each
    std::uint64_t messages_sent = 0;   //!< to other reactors: calls, replies and stops
    std::uint64_t messages_received = 0;
    std::uint64_t call_queue_waits = 0;  //!< calls that had to wait for room in a queue
    std::uint64_t posts_refused = 0;     //!< post_from_any_thread() at its limit
    std::uint64_t task_failures = 0;    //!< failures in nurseries that collect, the root among them
    std::uint64_t tasks_destroyed = 0;  //!< at the hard deadline of a stop
    std::uint64_t stalls = 0;           //!< turns longer than reactor_options::stall_limit
    std::uint64_t ready = 0;            //!< coroutines on the ready list
    std::uint64_t live_operations = 0;  //!< submitted or parked, terminal CQE not yet seen
    std::int64_t live_frames = 0;       //!< coroutine frames and pooled objects in use
    std::uint64_t pooled_frames = 0;    //!< free, kept for the next
    std::uint64_t live_timers = 0;
};

}  // namespace sluice
