// SPDX-License-Identifier: Apache-2.0
#include "frame.hpp"

#include <cerrno>

namespace rpc {

using namespace sluice;

namespace {

constexpr std::size_t length_bytes = 4;
constexpr std::size_t head_bytes = 9;  // id and kind

void put(std::string& to, std::uint64_t n, std::size_t bytes) {
    for (std::size_t i = bytes; i-- != 0;) to.push_back(static_cast<char>(n >> (8 * i)));
}

std::uint64_t get(std::string_view from) {
    std::uint64_t n = 0;
    for (const char c : from) n = n << 8 | static_cast<unsigned char>(c);
    return n;
}

}  // namespace

std::string encode(std::uint64_t id, kind what, std::string_view payload) {
    std::string text;
    text.reserve(length_bytes + head_bytes + payload.size());
    put(text, head_bytes + payload.size(), length_bytes);
    put(text, id, 8);
    put(text, static_cast<std::uint64_t>(what), 1);
    text += payload;
    return text;
}

task<result<frame>> read_frame(stream_reader& reader) {
    auto length = co_await reader.recv_exact(length_bytes);
    if (!length) co_return length.error();
    const std::uint64_t size = get(length->to_string());
    if (size < head_bytes || size > head_bytes + longest_payload) co_return errno_error(EPROTO);
    auto rest = co_await reader.recv_exact(static_cast<std::size_t>(size));
    if (!rest) co_return rest.error() == error::eof ? error::truncated : rest.error();
    frame f;
    f.payload = rest->to_string();
    f.id = get(std::string_view(f.payload).substr(0, 8));
    const auto what = static_cast<std::uint8_t>(f.payload[8]);
    if (what > static_cast<std::uint8_t>(kind::timed_out)) co_return errno_error(EPROTO);
    f.what = static_cast<kind>(what);
    f.payload.erase(0, head_bytes);
    co_return f;
}

}  // namespace rpc
