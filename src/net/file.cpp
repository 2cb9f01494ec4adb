// SPDX-License-Identifier: Apache-2.0
#include "sluice/file.hpp"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>

#include <cerrno>

#include "net/file_io.hpp"
#include "runtime/request.hpp"
#include "sluice/shielded.hpp"
#include "sluice/task_dump.hpp"
#include "sluice/this_coro.hpp"

namespace sluice {

namespace {

using detail::request;

//! A request that a function fills.
template <class Fill>
class plain_request final : public request {
public:
    plain_request(const char* what, Fill fill) noexcept
        : request(prepare), what_(what), fill_(fill) {}

    void describe(await_description& into) const override { into.say(what_); }

private:
    static void prepare(operation& op, io_uring_sqe& sqe) noexcept {
        static_cast<plain_request&>(op).fill_(sqe);
    }
    const char* what_;
    Fill fill_;
};

int flags_of(const file_options& options) noexcept {
    int flags = O_WRONLY | O_CLOEXEC;
    if (options.create) flags |= O_CREAT;
    if (options.truncate) flags |= O_TRUNC;
    if (options.direct) flags |= O_DIRECT;
    return flags;
}

result<void> outcome(int answer) {
    if (answer < 0) return errno_error(-answer);
    return {};
}

task<result<void>> sync_file(int descriptor, unsigned flags) {
    plain_request syncing(
        "fsync", [=](io_uring_sqe& sqe) noexcept { io_uring_prep_fsync(&sqe, descriptor, flags); });
    co_return outcome(co_await syncing);
}

task<result<void>> close_descriptor(int descriptor) {
    plain_request closing("close of a file", [=](io_uring_sqe& sqe) noexcept {
        io_uring_prep_close(&sqe, descriptor);
    });
    co_return outcome(co_await closing);
}

}  // namespace

task<result<file>> file::open(std::string path, file_options options) {
    reactor& home = co_await this_coro::reactor();
    plain_request opening("openat", [&](io_uring_sqe& sqe) noexcept {
        io_uring_prep_openat(&sqe, AT_FDCWD, path.c_str(), flags_of(options), options.permissions);
    });
    const int descriptor = co_await opening;
    if (descriptor < 0) co_return errno_error(-descriptor);
    file opened{home.io().below(), descriptor};
    opened.direct_ = options.direct;
    auto learned = co_await opened.learn();
    if (!learned) co_return learned.error();
    co_return std::move(opened);
}

task<result<void>> file::learn() {
    struct statx about {};
    plain_request asking("statx", [&](io_uring_sqe& sqe) noexcept {
        io_uring_prep_statx(&sqe, descriptor_, "", AT_EMPTY_PATH,
                            STATX_TYPE | STATX_SIZE | STATX_DIOALIGN, &about);
    });
    const int answer = co_await asking;
    if (answer < 0) co_return errno_error(-answer);
    facts_.regular = S_ISREG(about.stx_mode);
    facts_.size = about.stx_size;
    // 0: it takes no O_DIRECT.
    if ((about.stx_mask & STATX_DIOALIGN) != 0 && about.stx_dio_offset_align != 0) {
        facts_.memory_alignment = about.stx_dio_mem_align;
        facts_.offset_alignment = about.stx_dio_offset_align;
    }
    co_return result<void>{};
}

void file::drop() noexcept {
    if (descriptor_ >= 0) kernel_->close(std::exchange(descriptor_, -1));
}

task<result<std::size_t>> file::write_all(std::span<const std::byte> bytes, std::uint64_t offset) {
    detail::piece_list pieces;
    pieces.add(bytes);
    std::size_t done = 0;
    co_return co_await detail::write_pieces(descriptor_, pieces, offset, false, done);
}

task<result<std::size_t>> file::write_all(rx_buffer buffer, std::uint64_t offset) {
    detail::piece_list pieces;
    if (!buffer.empty()) pieces.add(buffer);
    std::size_t done = 0;
    co_return co_await detail::write_pieces(descriptor_, pieces, offset, direct_, done);
}

task<result<std::size_t>> file::write_all(buffer_chain chain, std::uint64_t offset) {
    detail::piece_list pieces;
    for (std::size_t i = 0; i < chain.count(); ++i) pieces.add(chain[i]);
    std::size_t done = 0;
    co_return co_await detail::write_pieces(descriptor_, pieces, offset, direct_, done);
}

task<result<std::size_t>> file::write_all(std::span<const std::span<const std::byte>> all,
                                          std::uint64_t offset) {
    detail::piece_list pieces;
    for (const auto& piece : all) pieces.add(piece);
    std::size_t done = 0;
    co_return co_await detail::write_pieces(descriptor_, pieces, offset, false, done);
}

task<result<void>> file::sync() { return sync_file(descriptor_, 0); }
task<result<void>> file::sync_data() { return sync_file(descriptor_, IORING_FSYNC_DATASYNC); }

task<result<void>> file::allocate(std::uint64_t offset, std::uint64_t bytes) {
    plain_request allocating("fallocate", [=, this](io_uring_sqe& sqe) noexcept {
        io_uring_prep_fallocate(&sqe, descriptor_, FALLOC_FL_KEEP_SIZE, offset, bytes);
    });
    co_return outcome(co_await allocating);
}

task<result<void>> file::resize(std::uint64_t bytes) {
    const auto length = static_cast<loff_t>(bytes);
    plain_request resizing("ftruncate", [=, this](io_uring_sqe& sqe) noexcept {
        io_uring_prep_ftruncate(&sqe, descriptor_, length);
    });
    int answer = co_await resizing;
    // Of an operation that the kernel does not know, or of a file that can't be resized.
    if (answer == -EINVAL) answer = kernel_->resize(descriptor_, length);
    co_return outcome(answer);
}

// A stop must not leave the descriptor open.
task<result<void>> file::close() {
    auto closing = close_descriptor(std::exchange(descriptor_, -1));
    co_return co_await shielded(std::move(closing));
}

}  // namespace sluice
