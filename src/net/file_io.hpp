// SPDX-License-Identifier: Apache-2.0
//! Writes of several pieces, for file and file_writer.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "sluice/buffer.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"

namespace sluice::detail {

//! Pieces that lie one after the other in the file.
class piece_list {
public:
    void add(std::span<const std::byte> bytes);
    //! A piece of a buffer that someone else keeps.
    void add(const rx_buffer& buffer);
    void clear() noexcept;
    //! More bytes that lie behind the last piece in memory.
    void grow_back(std::size_t bytes) noexcept;
    //! Takes the last bytes off again; they are part of the last piece.
    void drop_back(std::size_t bytes) noexcept;

    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::size_t count() const noexcept { return vector_.size(); }
    [[nodiscard]] const std::vector<iovec>& vector() const noexcept { return vector_; }
    //! That all of them lie in; null: none.
    [[nodiscard]] const std::shared_ptr<fixed_region>* region() const noexcept {
        return mixed_ ? nullptr : region_;
    }

private:
    void add(const std::byte* data, std::size_t size, const std::shared_ptr<fixed_region>* region);

    std::vector<iovec> vector_;
    std::size_t bytes_ = 0;
    const std::shared_ptr<fixed_region>* region_ = nullptr;
    bool mixed_ = false;
};

//! Writes all of it and says in `done` how much that was, however it ends. `fixed`: as a fixed
//! buffer, if it is all in one region. `pieces` must live until it completes.
task<result<std::size_t>> write_pieces(int descriptor, const piece_list& pieces,
                                       std::uint64_t offset, bool fixed, std::size_t& done);

}  // namespace sluice::detail
