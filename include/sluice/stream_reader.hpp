// SPDX-License-Identifier: Apache-2.0
//! Messages out of a stream: so many bytes, or up to a delimiter, without copying.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "sluice/buffer.hpp"
#include "sluice/buffer_chain.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"
#include "sluice/tcp_stream.hpp"

namespace sluice {

//! Reads a tcp_stream, which must outlive it, and keeps what was received beyond a message for the
//! next one. Nothing is taken out before it is complete: a read that is cancelled, or that ends
//! with an error, leaves all its bytes here. One read at a time, and while bytes are here none on
//! the stream itself.
class stream_reader {
public:
    explicit stream_reader(tcp_stream& stream) noexcept : stream_(stream) {}

    //! Waits until at least `count` bytes are here and takes none. The buffers stay the reader's;
    //! handles of the first `count` bytes are returned. Errors as recv_exact().
    task<result<buffer_chain>> peek(std::size_t count);

    //! Exactly `count` bytes. Errors: error::eof at the end of the stream when nothing is here,
    //! error::truncated when less than `count` is, ECANCELED, EBADF when the handle of the stream
    //! is empty, the kernel's.
    task<result<buffer_chain>> recv_exact(std::size_t count);

    //! Everything up to and including `delimiter`, which must not be empty. Errors as recv_exact(),
    //! and error::truncated when it is not among the first `limit` bytes.
    task<result<buffer_chain>> recv_until(std::string_view delimiter, std::size_t limit);

    //! Bytes that are here. The next chunk of any size is taken with recv_exact(buffered()).
    [[nodiscard]] std::size_t buffered() const noexcept { return bytes_; }

private:
    task<result<void>> fill(std::size_t count);
    task<result<void>> receive_more();
    buffer_chain take(std::size_t count);
    [[nodiscard]] buffer_chain share(std::size_t count) const;
    [[nodiscard]] std::size_t find(std::string_view delimiter, std::size_t from) const noexcept;
    [[nodiscard]] bool matches(std::string_view text, std::size_t slice,
                               std::size_t offset) const noexcept;

    static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);

    tcp_stream& stream_;
    std::vector<rx_buffer> slices_;  // those before first_ have been taken
    std::size_t first_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace sluice
