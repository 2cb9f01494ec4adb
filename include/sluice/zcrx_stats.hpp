// SPDX-License-Identifier: Apache-2.0
//! The books of an rx queue.
#pragma once

#include <cstdint>

namespace sluice {

//! Tokens are data CQEs; each is given back once. At every moment
//! delivered = held + returned, where held counts those in chunks that handles keep, those on
//! their way home from other threads, and those that wait for room in the refill queue.
struct zcrx_stats {
    bool in_use = false;
    bool waits = false;            //!< not in use, as it is taken, and asked for again: bind_retry
    std::uint64_t chunks = 0;      //!< of all areas
    std::uint64_t chunks_out = 0;  //!< that the kernel can't use: held, or waiting to go back
    std::uint64_t areas = 0;
    std::uint64_t area_bytes = 0;
    std::uint64_t tokens_delivered = 0;
    std::uint64_t tokens_held = 0;        //!< counted in the chunks themselves
    std::uint64_t tokens_returned = 0;    //!< written to the refill queue
    std::uint64_t refill_unseen = 0;      //!< of those, not yet read by the kernel
    std::uint64_t publications = 0;       //!< stores of the refill queue's tail
    std::uint64_t flushes = 0;            //!< ZCRX_CTRL_FLUSH_RQ
    std::uint64_t deferrals = 0;          //!< turns that ended with tokens waiting for room
    std::uint64_t alloc_fail_events = 0;  //!< ZCRX_EVENT_ALLOC_FAIL
    std::uint64_t copy_events = 0;        //!< ZCRX_EVENT_COPY
    std::uint64_t copies = 0;             //!< frags that the kernel copied, by its own statistics
    std::uint64_t copied_bytes = 0;
    std::uint64_t areas_refused = 0;  //!< times that growing failed
    std::int64_t handles = 0;         //!< rx_buffers alive, on all threads

    [[nodiscard]] bool balanced() const noexcept {
        return tokens_delivered == tokens_held + tokens_returned;
    }
};

}  // namespace sluice
