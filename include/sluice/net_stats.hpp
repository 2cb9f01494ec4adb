// SPDX-License-Identifier: Apache-2.0
//! What the net layer of a reactor counts.
#pragma once

#include <cstdint>

#include "sluice/ladder_stats.hpp"
#include "sluice/zcrx_stats.hpp"

namespace sluice {

class reactor;

struct net_stats {
    std::uint64_t accepted = 0;
    std::uint64_t connected = 0;
    std::uint64_t closed = 0;
    std::uint64_t moved_in = 0;        //!< connections that came from other reactors
    std::uint64_t moved_out = 0;       //!< that went there
    std::uint64_t open = 0;            //!< connections, those that are being closed included
    std::uint64_t bytes_in = 0;        //!< payload received
    std::uint64_t bytes_out = 0;       //!< payload taken by the kernel
    std::uint64_t receives = 0;        //!< CQEs with data
    std::uint64_t sends = 0;           //!< send requests that went to the kernel
    std::uint64_t sends_joined = 0;    //!< send_all() calls that shared one with another
    std::uint64_t enobufs = 0;         //!< receives that ended for want of buffers
    std::uint64_t rearmed = 0;         //!< of those, armed again
    std::uint64_t heap_receives = 0;   //!< of those, read into heap memory instead
    std::uint64_t capped = 0;          //!< times a connection was not armed again: too much waits
    std::uint64_t copied_out = 0;      //!< slices copied to free their buffer
    std::uint64_t accept_pauses = 0;   //!< for want of descriptors or at max_connections
    std::uint64_t accept_refused = 0;  //!< connections closed at once for want of descriptors
    std::uint64_t send_limit_hit = 0;  //!< send_all() refused: too many waiting
    std::uint64_t buffers_total = 0;   //!< provided buffers
    std::uint64_t buffers_kernel = 0;  //!< of those, the ones that the kernel has or can have
    std::uint64_t buffers_posted = 0;  //!< of those, the ones that it has
    std::int64_t buffers_lent = 0;     //!< rx_buffer handles of them that are alive

    // Zero-copy receive.
    std::uint64_t zero_copy_connections = 0;  //!< that began with it
    std::uint64_t zero_copy_climbed = 0;      //!< that changed to it when the rx queue could be had
    std::uint64_t zero_copy_left = 0;         //!< of those, that went on with copies: not TCP
    std::uint64_t zero_copy_bytes = 0;        //!< of bytes_in: that stayed where they were received
    std::uint64_t enospc = 0;                 //!< receives that ended for want of room for a CQE
    std::uint64_t grants_cut = 0;  //!< connections that were granted less room than they may have

    // Placement on the reactor whose rx queue of an interface the packets come by.
    std::uint64_t accepts_right = 0;        //!< of accepted: here, where they belong
    std::uint64_t accepts_handed_over = 0;  //!< of accepted: given to the reactor they belong to
    std::uint64_t accepts_taken_over = 0;   //!< that other reactors have accepted for this one
    std::uint64_t accepts_misplaced = 0;    //!< of accepted: not here, but kept: nobody took them
    std::uint64_t accepts_unknown = 0;      //!< of accepted: by no queue that the kernel names
    std::uint64_t connects_right = 0;       //!< with connect_options::to_own_queue: as wished
    std::uint64_t connects_elsewhere = 0;   //!< with it: by another queue, or none that is known
    std::uint64_t detours = 0;              //!< receives that went on by another reactor's queue
    std::uint64_t detoured_bytes = 0;       //!< of bytes_in: copied out of another reactor's area

    ladder_stats copy_ladder;  //!< of the provided buffers
    ladder_stats zc_ladder;    //!< of the rx queue

    // Zero-copy sends.
    std::uint64_t zero_copy_sends = 0;  //!< of `sends`: those that the kernel was to make
    //! Of those, reported as copied by the kernel after all; falsely where a send shares a packet
    //! with the one before.
    std::uint64_t zero_copy_copied = 0;
    std::uint64_t zero_copy_refused = 0;  //!< of those, failed as such, and done again with a copy
    //! Connections that do without since one of the two, of a send that was alone.
    std::uint64_t zero_copy_ended = 0;
    std::uint64_t held_limit_hit = 0;  //!< sends that were copied because too much was held
    std::uint64_t held_resets = 0;     //!< connections reset to get memory back
    std::uint64_t held_sends = 0;      //!< now: requests whose memory the kernel has
    std::uint64_t held_bytes = 0;      //!< now: bytes of them
    std::uint64_t lingering = 0;       //!< now: closed connections that wait for their peer's sake
    std::uint64_t fixed_regions = 0;   //!< now: memory that is registered with the ring
    std::uint64_t fixed_refused = 0;   //!< memory that could not be
};

//! A snapshot, by the reactor's thread.
net_stats net_stats_of(reactor& home);

//! The books of its rx queue, or of the one that it shares; all zero if it has none. Counts the
//! chunks one by one: not for every turn of a loaded reactor.
zcrx_stats zcrx_stats_of(reactor& home);

}  // namespace sluice
