// SPDX-License-Identifier: Apache-2.0
#include "sluice/stream_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace sluice {

task<result<void>> stream_reader::receive_more() {
    if (!stream_) co_return errno_error(EBADF);  // another task has dropped it
    auto received = co_await stream_.recv();
    if (!received) {
        const bool in_the_middle = received.error() == error::eof && bytes_ != 0;
        co_return in_the_middle ? make_error_code(error::truncated) : received.error();
    }
    bytes_ += received->size();
    slices_.push_back(std::move(*received));
    co_return result<void>{};
}

task<result<void>> stream_reader::fill(std::size_t count) {
    while (bytes_ < count) {
        auto more = co_await receive_more();
        if (!more) co_return more;
    }
    co_return result<void>{};
}

task<result<buffer_chain>> stream_reader::peek(std::size_t count) {
    auto filled = co_await fill(count);
    if (!filled) co_return filled.error();
    co_return share(count);
}

task<result<buffer_chain>> stream_reader::recv_exact(std::size_t count) {
    auto filled = co_await fill(count);
    if (!filled) co_return filled.error();
    co_return take(count);
}

task<result<buffer_chain>> stream_reader::recv_until(std::string_view delimiter,
                                                     std::size_t limit) {
    if (delimiter.empty()) throw std::invalid_argument("sluice: recv_until: empty delimiter");
    std::size_t searched = 0;  // no delimiter begins before here
    for (;;) {
        const std::size_t at = find(delimiter, searched);
        if (at != nowhere && at + delimiter.size() <= limit) co_return take(at + delimiter.size());
        if (at != nowhere || bytes_ >= limit) co_return error::truncated;
        searched = bytes_ - std::min(bytes_, delimiter.size() - 1);
        auto more = co_await receive_more();
        if (!more) co_return more.error();
    }
}

buffer_chain stream_reader::take(std::size_t count) {
    buffer_chain chain;
    bytes_ -= count;
    while (count != 0) {
        rx_buffer& first = slices_[first_];
        const std::size_t part = std::min(count, first.size());
        chain.append(first.split(part));
        count -= part;
        if (first.empty()) ++first_;
    }
    // The room of what was taken is used again, at a cost that is constant for each slice.
    if (first_ >= slices_.size() - first_) {
        slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(first_));
        first_ = 0;
    }
    return chain;
}

buffer_chain stream_reader::share(std::size_t count) const {
    buffer_chain chain;
    for (std::size_t i = first_; count != 0; ++i) {
        const std::size_t part = std::min(count, slices_[i].size());
        chain.append(slices_[i].slice(0, part));
        count -= part;
    }
    return chain;
}

// The offset of the first delimiter that begins at `from` or later.
std::size_t stream_reader::find(std::string_view delimiter, std::size_t from) const noexcept {
    std::size_t start = 0;  // of the slice
    for (std::size_t i = first_; i < slices_.size(); start += slices_[i++].size()) {
        const std::string_view text = slices_[i].text();
        std::size_t offset = from > start ? from - start : 0;
        while (offset < text.size()) {
            offset = text.find(delimiter.front(), offset);
            if (offset == std::string_view::npos) break;
            if (matches(delimiter, i, offset)) return start + offset;
            ++offset;
        }
    }
    return nowhere;
}

bool stream_reader::matches(std::string_view text, std::size_t slice,
                            std::size_t offset) const noexcept {
    while (!text.empty()) {
        if (slice == slices_.size()) return false;
        const std::string_view here = slices_[slice].text().substr(offset);
        const std::size_t part = std::min(here.size(), text.size());
        if (std::memcmp(here.data(), text.data(), part) != 0) return false;
        text.remove_prefix(part);
        ++slice;
        offset = 0;
    }
    return true;
}

}  // namespace sluice
