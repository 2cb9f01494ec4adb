// SPDX-License-Identifier: Apache-2.0
//! Several buffers that hold one message.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "sluice/buffer.hpp"

namespace sluice {

//! Buffers in order. The first needs no memory of its own.
class buffer_chain {
public:
    buffer_chain() = default;
    explicit buffer_chain(rx_buffer first) noexcept : first_(std::move(first)) {}

    //! Empty buffers are left out.
    void append(rx_buffer b) {
        if (b.empty()) return;
        if (first_.empty())
            first_ = std::move(b);
        else
            rest_.push_back(std::move(b));
    }

    [[nodiscard]] std::size_t count() const noexcept {
        return first_.empty() ? 0 : 1 + rest_.size();
    }
    [[nodiscard]] bool empty() const noexcept { return first_.empty(); }
    const rx_buffer& operator[](std::size_t i) const noexcept {
        return i == 0 ? first_ : rest_[i - 1];
    }

    //! In bytes.
    [[nodiscard]] std::size_t size() const noexcept {
        std::size_t bytes = 0;
        for (std::size_t i = 0; i < count(); ++i) bytes += (*this)[i].size();
        return bytes;
    }

    //! All bytes in one piece: copied if they are not already.
    [[nodiscard]] std::string to_string() const {
        std::string text;
        text.reserve(size());
        for (std::size_t i = 0; i < count(); ++i) text += (*this)[i].text();
        return text;
    }

private:
    rx_buffer first_;
    std::vector<rx_buffer> rest_;
};

}  // namespace sluice
