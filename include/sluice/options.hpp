// SPDX-License-Identifier: Apache-2.0
//! The limits and switches of a reactor.
#pragma once

#include <chrono>
#include <cstdint>

#include "sluice/zcrx_options.hpp"

namespace sluice {

//! How a reactor ends the sleep of another one.
enum class wake_method : std::uint8_t {
    automatic,  //!< the better one that the kernel has: msg_ring
    msg_ring,   //!< IORING_OP_MSG_RING (Linux 6.1 for the rings used here), else event_fd
    event_fd,   //!< a write(2) to an eventfd(2) for each sleeper
};

struct reactor_options {
    std::uint32_t sq_entries = 1024;  //!< submission queue; full: flushed, then submitters wait
    std::uint32_t cq_entries =
        16384;                        //!< completion queue, at least sq_entries; overflow: survived
    std::uint32_t ready_turn = 1024;  //!< coroutines resumed before the reactor looks at I/O again
    std::uint32_t await_budget = 64;  //!< results a coroutine may take at once before it queues

    //! Waits until this many completions are there, but no longer than `min_wait` (kernel 6.12).
    //! 0 duration: as soon as there is one. Trades latency for fewer system calls.
    std::chrono::microseconds min_wait{0};
    std::uint32_t min_wait_completions = 32;

    //! A turn that resumes coroutines for longer is a stall: counted, and logged with the coroutine
    //! that holds the reactor and its stack. 0: off, and costs nothing. On, it costs a reading of
    //! the clock a turn, a thread for the process that looks four times in this time, and the
    //! signal SIGURG for the thread of a reactor that stalls; a handler of the program's is called
    //! too.
    std::chrono::milliseconds stall_limit{0};
    std::chrono::milliseconds stall_log_interval{1000};  //!< of a reactor; more are counted only

    std::chrono::microseconds busy_poll{0};  //!< NAPI busy polling of the ring (kernel 6.9)
    bool registered_descriptors = false;     //!< sockets live in the ring's own file table
    std::uint32_t registered_descriptor_slots = 16384;

    // Between threads.
    wake_method cross_core_wake = wake_method::automatic;
    std::uint32_t call_queue = 256;      //!< calls to one other reactor that wait there; a power
                                         //!< of two, or rounded up to one; full: callers wait
    std::uint32_t max_posts = 4096;      //!< functions of other threads that wait for their turn
    std::uint32_t blocking_threads = 4;  //!< that run blocking() calls, of a service together
    std::uint32_t blocking_queue = 64;   //!< calls of one reactor that wait for a thread; further
                                         //!< ones wait on the reactor

    // Provided buffers for receives in copy mode: `recv_buffers` x `recv_buffer_size` bytes.
    std::uint32_t recv_buffers = 256;            //!< rounded up to a power of two, at most 32768
    std::uint32_t recv_buffer_size = 64 * 1024;  //!< bytes
    //! Of these, bytes that the kernel is offered at the least and, under load, at the most. Best
    //! is what the cache holds: memory that goes round leaves it before it is used again.
    std::uint32_t recv_posted_bytes = 1024 * 1024;
    std::uint32_t recv_posted_most_bytes = 4 * 1024 * 1024;
    //! When coroutines hold all of them, a receive reads this many bytes at a time into heap
    //! memory; 0: it waits until one comes back, for ever if those who hold them wait for its
    //! bytes.
    std::uint32_t heap_receive_size = 16 * 1024;

    zcrx_options zcrx{};  //!< zero-copy receive

    // Per connection.
    std::uint32_t max_pending_bytes = 2048 * 1024;  //!< received and not yet taken; also the credit
    std::uint32_t max_pinned_bytes = 1024 * 1024;  //!< of buffers kept from the kernel; above: copy
    std::uint32_t copy_out_below = 4096;           //!< only slices smaller than this are copied out
    std::uint32_t max_pending_sends = 1024;        //!< send_all() calls waiting on one stream

    // Zero-copy sends (kernel 6.2): the kernel sends from the memory itself and says later when it
    // has done with it.
    //! Requests of this many bytes and more, if all of it is owned buffers or send_all_zero_copy();
    //! 0: none.
    std::uint32_t zero_copy_send_from = 16 * 1024;
    //! Go on where the kernel reports that it copies all the same, as it does between two sockets
    //! of one machine; else the connection does without from then on.
    bool zero_copy_send_despite_copies = false;
    std::uint32_t max_held_sends = 4096;               //!< requests whose memory the kernel has
    std::uint64_t max_held_bytes = 64 * 1024 * 1024;   //!< of them; at a limit: copied as ever
    std::uint32_t max_held_sends_per_connection = 64;  //!< the same for one connection
    std::uint64_t max_held_bytes_per_connection = 4 * 1024 * 1024;
    //! A connection that was closed is reset when its peer has not taken everything by then; 0: at
    //! once.
    std::chrono::milliseconds held_send_timeout{60'000};
    std::chrono::milliseconds held_send_stop_timeout{1000};  //!< the same after request_stop()
    //! Regions of memory that are pinned for the ring, so that not every send pins its pages: those
    //! that were sent from without a copy. Charged to RLIMIT_MEMLOCK. 0: none.
    std::uint32_t registered_buffer_slots = 64;

    // Fibers.
    std::uint32_t max_fibers = 4096;       //!< with a stack at once; beyond: EAGAIN
    std::uint32_t fiber_stacks_kept = 64;  //!< of those that have ended; more are unmapped
    //! At the first fiber: a handler of SIGSEGV and SIGBUS that says when a fiber's stack has
    //! overflowed, and then goes on to the one that was there. False: signals are left alone.
    bool report_stack_overflow = true;
};

}  // namespace sluice
