// SPDX-License-Identifier: Apache-2.0
//! Files, as far as sinks need them: to open, to write, to make durable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "sluice/buffer.hpp"
#include "sluice/buffer_chain.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"

namespace sluice {

namespace detail {
class kernel;
}

struct file_options {
    bool create = true;                //!< if there is none of that name
    bool truncate = true;              //!< what it holds is thrown away; devices have no length
    bool direct = false;               //!< O_DIRECT, see open(2): past the page cache, aligned
    std::uint32_t permissions = 0644;  //!< of one that is created, less the umask
};

//! What is known of an open file.
struct file_facts {
    bool regular = false;    //!< else a device, a pipe, ...
    std::uint64_t size = 0;  //!< bytes when it was opened; 0 of devices

    //! What O_DIRECT demands of the address of each piece, and of offset and length: statx(2),
    //! STATX_DIOALIGN (Linux 6.1, block devices 6.11). 4096 where the kernel does not say.
    std::uint32_t memory_alignment = 4096;
    std::uint32_t offset_alignment = 4096;
};

//! A move-only handle of an open file. It belongs to no reactor: each function uses the ring of the
//! one that awaits it. The handle must outlive its operations; any number may be in flight, in any
//! order. Dropping it closes the file at once, on this thread.
//!
//! A stop does not reach a write, an fsync or an open that has begun: the kernel cancels only what
//! still waits for its turn there. So a cancelled operation waits for its own end, which takes as
//! long as the disk does, and its memory is in use until then; the same goes for a time limit
//! around it. It ends with ECANCELED if it was cancelled, and with its result if it was not.
class file {
public:
    file() = default;
    file(file&& o) noexcept
        : kernel_(o.kernel_),
          descriptor_(std::exchange(o.descriptor_, -1)),
          facts_(o.facts_),
          direct_(o.direct_) {}
    file& operator=(file&& o) noexcept {
        if (this != &o) {
            drop();
            kernel_ = o.kernel_;
            descriptor_ = std::exchange(o.descriptor_, -1);
            facts_ = o.facts_;
            direct_ = o.direct_;
        }
        return *this;
    }
    ~file() { drop(); }

    //! For writing: openat(2), then statx(2). Errors: the kernel's; EINVAL with `direct` where
    //! there is no O_DIRECT.
    static task<result<file>> open(std::string path, file_options options = {});

    explicit operator bool() const noexcept { return descriptor_ >= 0; }
    [[nodiscard]] const file_facts& facts() const noexcept { return facts_; }
    //! Whether it was opened with O_DIRECT.
    [[nodiscard]] bool direct() const noexcept { return direct_; }

    //! Writes everything at `offset`: pwritev2(2), continued where the kernel has written less.
    //! Gives the number of bytes. Errors: ENOSPC, EFBIG, EIO, ...; EINVAL if O_DIRECT's alignment
    //! is not kept. After an error or a stop the file may hold any part of it. `bytes` must live
    //! until this completes.
    task<result<std::size_t>> write_all(std::span<const std::byte> bytes, std::uint64_t offset);
    //! The same for a buffer that is kept until it has been written. With O_DIRECT it is written as
    //! a fixed buffer of the ring where it lies in memory that can be one
    //! (reactor_options::registered_buffer_slots).
    task<result<std::size_t>> write_all(rx_buffer buffer, std::uint64_t offset);
    //! The same for several, one after the other in the file (fixed buffers: Linux 6.15).
    task<result<std::size_t>> write_all(buffer_chain chain, std::uint64_t offset);
    //! The same for pieces that the caller keeps. Both the array and the bytes must live until it
    //! completes.
    task<result<std::size_t>> write_all(std::span<const std::span<const std::byte>> pieces,
                                        std::uint64_t offset);

    //! Completes when all that was written before is on stable storage, with the metadata:
    //! fsync(2). An error (EIO, ENOSPC) may concern any earlier write, and is reported once.
    task<result<void>> sync();
    //! The same without metadata that reading does not need: fdatasync(2).
    task<result<void>> sync_data();

    //! Takes the room for so many bytes from `offset` from the file system, without changing the
    //! size: fallocate(2), FALLOC_FL_KEEP_SIZE. Errors: ENOSPC, EOPNOTSUPP, ...
    task<result<void>> allocate(std::uint64_t offset, std::uint64_t bytes);

    //! Cuts or extends a regular file: ftruncate(2); on the reactor's thread before Linux 6.9.
    task<result<void>> resize(std::uint64_t bytes);

    //! Completes when the descriptor is closed. The handle is empty from now on, and without an
    //! error to hope for: what was not synced may still fail later, unnoticed.
    task<result<void>> close();

    //! For the layers above.
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

private:
    file(detail::kernel& kernel, int descriptor) noexcept
        : kernel_(&kernel), descriptor_(descriptor) {}
    void drop() noexcept;
    task<result<void>> learn();

    detail::kernel* kernel_ = nullptr;
    int descriptor_ = -1;
    file_facts facts_;
    bool direct_ = false;
};

}  // namespace sluice
