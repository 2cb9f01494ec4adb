// SPDX-License-Identifier: Apache-2.0
#include "checker.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <iomanip>
#include <sstream>
#include <vector>

namespace sluice_load {

namespace {

constexpr std::size_t block_size = 16 * 1024;
constexpr std::uint64_t search_reach = 1024 * 1024;
constexpr std::size_t shortest_sample = 8;
constexpr std::size_t longest_sample = 32;

std::optional<std::uint64_t> find_origin(const pattern& sent, std::uint64_t offset,
                                         std::span<const std::byte> received) {
    if (received.size() < shortest_sample) return std::nullopt;
    const auto sample = received.first(std::min(received.size(), longest_sample));
    const std::uint64_t from = offset - std::min(offset, search_reach);
    std::vector<std::byte> window(static_cast<std::size_t>(offset - from + search_reach));
    sent.fill(from, window);
    const auto found = std::search(
        window.begin(), window.end(),
        std::boyer_moore_horspool_searcher(sample.begin(), sample.end(), [](std::byte value) {
            return std::hash<unsigned char>{}(std::to_integer<unsigned char>(value));
        }));
    if (found == window.end()) return std::nullopt;
    return from + static_cast<std::uint64_t>(found - window.begin());
}

mismatch locate(const pattern& sent, std::uint64_t offset, std::span<const std::byte> expected,
                std::span<const std::byte> received) {
    const auto differ = std::mismatch(expected.begin(), expected.end(), received.begin());
    const auto index = static_cast<std::size_t>(differ.first - expected.begin());
    return {.offset = offset + index,
            .expected = *differ.first,
            .actual = *differ.second,
            .origin = find_origin(sent, offset + index, received.subspan(index))};
}

}  // namespace

std::string mismatch::describe() const {
    std::ostringstream text;
    text << "byte " << offset << " of the stream is wrong: expected 0x" << std::hex
         << std::setfill('0') << std::setw(2) << std::to_integer<unsigned>(expected) << ", got 0x"
         << std::setw(2) << std::to_integer<unsigned>(actual) << std::dec;
    if (origin && *origin > offset) text << " (" << *origin - offset << " bytes are missing here)";
    if (origin && *origin < offset) {
        text << " (bytes sent at offset " << *origin << " came again here)";
    }
    return text.str();
}

std::optional<mismatch> find_mismatch(const pattern& sent, std::uint64_t offset,
                                      std::span<const std::byte> received) {
    std::array<std::byte, block_size> block;  // NOLINT(cppcoreguidelines-pro-type-member-init)
    while (!received.empty()) {
        const auto expected = std::span(block).first(std::min(block_size, received.size()));
        sent.fill(offset, expected);
        if (std::memcmp(expected.data(), received.data(), expected.size()) != 0) {
            return locate(sent, offset, expected, received);
        }
        offset += expected.size();
        received = received.subspan(expected.size());
    }
    return std::nullopt;
}

}  // namespace sluice_load
