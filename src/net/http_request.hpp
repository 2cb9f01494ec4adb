// SPDX-License-Identifier: Apache-2.0
//! As much of HTTP/1.1 as an endpoint without request bodies needs: RFC 9112.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace sluice::detail {

struct http_request {
    std::string_view method;
    std::string_view path;    //!< the target up to '?'
    bool keep_alive = false;  //!< the connection may be used again
    bool good = false;        //!< false: answer 400
};

//! The bytes up to and with the empty line that ends the headers; nothing if it is not there yet.
std::optional<std::size_t> http_head_size(std::string_view received) noexcept;

//! `head` as http_head_size() has found it; the result refers to it. A request with a body is taken
//! without it, and keep_alive is false then.
http_request parse_http_request(std::string_view head) noexcept;

}  // namespace sluice::detail
