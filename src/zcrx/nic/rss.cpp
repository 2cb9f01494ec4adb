// SPDX-License-Identifier: Apache-2.0
#include "sluice/rss.hpp"

namespace sluice {

std::uint32_t toeplitz_hash(std::span<const std::uint8_t> key,
                            std::span<const std::uint8_t> input) noexcept {
    const auto byte = [&](std::size_t i) { return i < key.size() ? std::uint32_t{key[i]} : 0U; };
    std::uint32_t window = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
    std::uint32_t hash = 0;
    for (std::size_t i = 0; i < input.size(); ++i) {
        const std::uint32_t next = byte(i + 4);
        for (unsigned bit = 8; bit-- > 0;) {
            if ((input[i] >> bit & 1U) != 0) hash ^= window;
            window = window << 1 | (next >> bit & 1U);
        }
    }
    return hash;
}

}  // namespace sluice
