// SPDX-License-Identifier: Apache-2.0
//! What goes over the wire: a length, whose call it is, what kind of message, and bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <sluice/sluice.hpp>

namespace rpc {

inline constexpr std::size_t longest_payload = 1024 * 1024;

enum class kind : std::uint8_t {
    echo,       //!< a request: give the payload back
    reply,      //!< the answer
    timed_out,  //!< the server gave the call up
};

//! 4 bytes: of all that follows; 8 bytes: the caller's number; 1 byte: kind; the payload. Numbers
//! are big-endian.
struct frame {
    std::uint64_t id = 0;
    kind what = kind::echo;
    std::string payload;
};

std::string encode(std::uint64_t id, kind what, std::string_view payload);

//! The next frame. Errors: error::eof between two frames, error::truncated within one, EPROTO for a
//! length or kind that is not allowed, the stream's.
sluice::task<sluice::result<frame>> read_frame(sluice::stream_reader& reader);

}  // namespace rpc
