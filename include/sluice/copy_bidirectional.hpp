// SPDX-License-Identifier: Apache-2.0
//! What a proxy does: everything that comes from one connection goes out on another, both ways.
#pragma once

#include <chrono>
#include <cstdint>

#include "sluice/error.hpp"
#include "sluice/task.hpp"
#include "sluice/tcp_stream.hpp"

namespace sluice {

//! Bytes that have been taken by the receiver's kernel, each way.
struct copy_counts {
    std::uint64_t a_to_b = 0;
    std::uint64_t b_to_a = 0;
};

struct copy_options {
    //! Received buffers (leases) that one direction holds at a time, at least 1. While it holds so
    //! many, or `max_bytes` in them, it takes no more: what then comes waits at the connection, up
    //! to reactor_options::max_pending_bytes, and the rest at its sender.
    std::uint32_t max_leases = 16;
    //! The same in bytes. The last buffer taken may exceed it.
    std::size_t max_bytes = std::size_t{256} * 1024;

    //! Without a byte in either direction for so long, both end with error::timeout; 0: never. A
    //! byte counts when it is received and when a send of up to `max_bytes` is through.
    std::chrono::nanoseconds idle_timeout{0};

    //! When one connection fails: how long the other may take to receive what was accepted for it
    //! before, until it is reset, too.
    std::chrono::nanoseconds linger{std::chrono::seconds{1}};

    //! Added to while bytes go, for statistics; must live until the copy ends.
    copy_counts* totals = nullptr;
};

//! How one direction has ended, and what it has done.
struct copied {
    std::uint64_t bytes = 0;  //!< in sends that were completed

    //! error::eof: in order, the receiver has got everything and the end of the stream. Else what
    //! failed; ECANCELED: nothing here, the copy was cancelled or the other direction failed.
    boost::system::error_code end;
};

struct copy_result {
    copied a_to_b;
    copied b_to_a;

    //! Whether both directions have.
    [[nodiscard]] bool in_order() const noexcept {
        return a_to_b.end == error::eof && b_to_a.end == error::eof;
    }
};

//! Sends what comes from `a` to `b`, and what comes from `b` to `a`, in the memory it came in and
//! without copying it. Buffers that wait together go out in one send. Both streams belong to the
//! reactor that runs this and are used by nobody else until it ends.
//!
//! The end of a stream is passed on (shutdown()), and the other direction goes on. This completes
//! when both have ended. In order: both streams are open handles, to be dropped or closed.
//!
//! Otherwise both are reset (abort()) and empty: who reads the end of the stream has read all that
//! the other side has sent. This goes for a connection that fails, for the idle timeout, for an
//! exception (bad_alloc) and for a stop. When a connection fails, what was accepted before is
//! delivered to the other one, within copy_options::linger. Where abort() can't reset, over Unix
//! sockets and registered descriptors, that is an end of the stream like any other.
//!
//! A receiver that reads slowly stops the sender: see copy_options::max_leases. One that doesn't
//! read at all keeps both connections until the idle timeout, also when the sender has gone
//! meanwhile: a direction hears of its sender when it receives again.
//!
//! Cancelled: both directions end with ECANCELED unless they had ended before; bytes on their way
//! are lost. Gives no result<T>, because the counts are there however it ends. Uses pooled frames;
//! allocates when several buffers are sent together.
task<copy_result> copy_bidirectional(tcp_stream& a, tcp_stream& b,
                                     const copy_options& options = {});

}  // namespace sluice
