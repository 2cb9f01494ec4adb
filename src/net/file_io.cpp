// SPDX-License-Identifier: Apache-2.0
#include "net/file_io.hpp"

#include <algorithm>
#include <cerrno>
#include <limits.h>
#include <string>

#include "runtime/probe.hpp"
#include "runtime/request.hpp"
#include "sluice/task_dump.hpp"
#include "sluice/this_coro.hpp"

namespace sluice::detail {

namespace {

constexpr std::size_t most_pieces = IOV_MAX;
constexpr std::size_t most_bytes = std::size_t{1} << 30;  // the result of a request is an int

class write_request final : public request {
public:
    write_request(int descriptor, std::span<const iovec> vector, std::uint64_t offset,
                  int fixed_index) noexcept
        : request(prepare),
          descriptor_(descriptor),
          vector_(vector),
          offset_(offset),
          fixed_index_(fixed_index) {}

    void describe(await_description& into) const override {
        into.say("write on fd " + std::to_string(descriptor_) + " at " + std::to_string(offset_));
    }

private:
    static void prepare(operation& op, io_uring_sqe& sqe) noexcept {
        auto& self = static_cast<write_request&>(op);
        const bool fixed = self.fixed_index_ != registered_buffers::none;
        const iovec& first = self.vector_.front();
        const auto count = static_cast<unsigned>(self.vector_.size());
        if (count == 1 && fixed)
            io_uring_prep_write_fixed(&sqe, self.descriptor_, first.iov_base,
                                      static_cast<unsigned>(first.iov_len), self.offset_,
                                      self.fixed_index_);
        else if (count == 1)
            io_uring_prep_write(&sqe, self.descriptor_, first.iov_base,
                                static_cast<unsigned>(first.iov_len), self.offset_);
        else if (fixed)
            io_uring_prep_writev_fixed(&sqe, self.descriptor_, self.vector_.data(), count,
                                       self.offset_, 0, self.fixed_index_);
        else
            io_uring_prep_writev(&sqe, self.descriptor_, self.vector_.data(), count, self.offset_);
    }

    int descriptor_;
    std::span<const iovec> vector_;
    std::uint64_t offset_;
    int fixed_index_;
};

//! What comes after the first `done` bytes, as much as a request takes.
void rest_of(const piece_list& pieces, std::size_t done, std::vector<iovec>& into) {
    into.clear();
    std::size_t room = most_bytes;
    for (const iovec& piece : pieces.vector()) {
        if (done >= piece.iov_len) {
            done -= piece.iov_len;
            continue;
        }
        const std::size_t size = std::min(piece.iov_len - done, room);
        into.push_back({static_cast<std::byte*>(piece.iov_base) + done, size});
        room -= size;
        done = 0;
        if (room == 0 || into.size() == most_pieces) return;
    }
}

//! `none`: this is no fixed buffer, or not wanted as one, or the kernel can't.
int fixed_index_of(const piece_list& pieces, bool wanted, reactor_io& io) noexcept {
    if (!wanted || pieces.region() == nullptr) return registered_buffers::none;
    // Writes of several pieces of a fixed buffer came with the sends of such.
    if (pieces.count() > 1 && !io.found().has(feature_fixed_vectors))
        return registered_buffers::none;
    return io.fixed_buffers().index_of(*pieces.region());
}

}  // namespace

void piece_list::add(const std::byte* data, std::size_t size,
                     const std::shared_ptr<fixed_region>* region) {
    vector_.push_back({const_cast<std::byte*>(data), size});
    bytes_ += size;
    mixed_ = mixed_ || region == nullptr || (region_ != nullptr && *region_ != *region);
    region_ = region;
}

void piece_list::add(std::span<const std::byte> bytes) { add(bytes.data(), bytes.size(), nullptr); }

void piece_list::add(const rx_buffer& buffer) {
    const buffer_block& block = *buffer.block();
    const std::shared_ptr<fixed_region>* region = nullptr;
    if (block.source != nullptr && block.source->region_of(block) != nullptr)
        region = &block.source->region_of(block);
    add(buffer.data(), buffer.size(), region);
}

void piece_list::clear() noexcept {
    vector_.clear();
    bytes_ = 0;
    region_ = nullptr;
    mixed_ = false;
}

void piece_list::grow_back(std::size_t bytes) noexcept {
    bytes_ += bytes;
    vector_.back().iov_len += bytes;
}

void piece_list::drop_back(std::size_t bytes) noexcept {
    if (bytes == 0) return;
    bytes_ -= bytes;
    vector_.back().iov_len -= bytes;
    if (vector_.back().iov_len == 0) vector_.pop_back();
}

task<result<std::size_t>> write_pieces(int descriptor, const piece_list& pieces,
                                       std::uint64_t offset, bool fixed, std::size_t& done) {
    reactor& home = co_await this_coro::reactor();
    const int index = fixed_index_of(pieces, fixed, home.io());
    std::vector<iovec> rest;
    done = 0;
    while (done < pieces.bytes()) {
        rest_of(pieces, done, rest);
        write_request writing(descriptor, rest, offset + done, index);
        const int answer = co_await writing;
        if (answer == -EINTR || answer == -EAGAIN) continue;
        if (answer < 0) co_return errno_error(-answer);
        if (answer == 0) co_return errno_error(EIO);  // never, of what is not empty
        done += static_cast<std::size_t>(answer);
    }
    co_return done;
}

}  // namespace sluice::detail
