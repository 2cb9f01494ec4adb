// SPDX-License-Identifier: Apache-2.0
//! Writes a stream to a file, where possible from the memory in which it was received.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "sluice/buffer.hpp"
#include "sluice/file.hpp"
#include "sluice/nursery.hpp"

namespace sluice {

struct file_writer_options {
    std::uint64_t offset = 0;  //!< where in the file the stream begins; direct: aligned
    std::size_t write_bytes = std::size_t{256} * 1024;  //!< of one write, at most
    std::uint32_t max_writes = 4;                       //!< in flight, at least 1
    //! Received buffers that wait to be written or are being written, at least 1. Fewer than
    //! zcrx_options::max_leases_per_connection, or some are copied when they are received.
    std::uint32_t max_leases = 48;
    //! Direct: aligned pieces smaller than this are copied too; more of them go into one write.
    std::size_t direct_from = 2048;
};

//! What has become of the bytes, and what the slices were like. Alignment is that of
//! file_facts, whether the file is direct or not.
struct file_writer_counts {
    std::uint64_t bytes = 0;   //!< taken; = direct + staged
    std::uint64_t direct = 0;  //!< of them, to be written from where they were received
    std::uint64_t staged = 0;  //!< of them, copied to aligned memory first
    std::uint64_t writes = 0;  //!< of several pieces, or one
    std::uint64_t slices = 0;
    std::uint64_t aligned_address = 0;  //!< slices that begin at an aligned address
    std::uint64_t aligned_length = 0;   //!< whose length is a multiple
    std::uint64_t aligned_offset = 0;   //!< that came to lie at an aligned offset of the file
    std::uint64_t waits = 0;            //!< times that write() had to wait for a limit

    file_writer_counts& operator+=(const file_writer_counts& o) noexcept;
};

//! Takes a stream piece by piece and has it written while the next pieces come, several writes at
//! a time. While none is in flight, what there is goes out at once; what comes meanwhile is written
//! together. It is for files that end where the stream ends.
//!
//! A file that was opened with `direct` takes aligned writes only. Where offset in the file,
//! address and length of a slice fit, it is written from its own memory; what doesn't is copied to
//! aligned staging memory (max_writes + 2 times write_bytes, when it is used). A last block that is
//! not full is padded with zeros, and a regular file cut to its length afterwards; a device keeps
//! the zeros. Other files take all slices as they are.
//!
//! Writes are children of the nursery that is given: it and the file must outlive the writes, the
//! writer itself need not. A stop does not reach them: what write() has taken is written. A child
//! that fails is the failure of its nursery, which by default cancels the function that is waiting
//! for more to write.
//! Not movable; one coroutine uses it at a time.
class file_writer {
public:
    //! Throws bad_alloc.
    file_writer(nursery& scope, file& to, const file_writer_options& options = {});
    file_writer(const file_writer&) = delete;
    file_writer& operator=(const file_writer&) = delete;
    ~file_writer();

    //! Completes when the writer has taken the slice, which takes as long as the limits demand: who
    //! receives no more meanwhile passes the disk's speed on to the sender. Errors: that of the
    //! first write that failed, from then on always; ENOMEM. Cancelled: ECANCELED, and a part of
    //! the slice may have been taken (counts().bytes).
    task<result<void>> write(rx_buffer slice);

    //! Completes when nothing is in flight: all taken bytes are written but for a last block that
    //! is not full. To be followed by an fsync. Errors as write(). Cancelled: ECANCELED.
    task<result<void>> settle();

    //! Ends the stream: writes what is left and brings a regular file to its exact length. Errors
    //! as write(); the file is then cut where the first gap would begin, so that it holds written()
    //! bytes of the stream and nothing else. A stop does not shorten it.
    task<result<void>> finish();

    //! So many bytes, from the first one on, have been written without a gap.
    [[nodiscard]] std::uint64_t written() const noexcept;
    [[nodiscard]] const file_writer_counts& counts() const noexcept;

private:
    class state;
    std::shared_ptr<state> state_;
};

}  // namespace sluice
