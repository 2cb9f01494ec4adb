// SPDX-License-Identifier: Apache-2.0
#include "pattern.hpp"

#include <algorithm>
#include <cstring>

namespace sluice_load {

namespace {

constexpr std::uint64_t golden = 0x9e3779b97f4a7c15U;
constexpr std::size_t word_size = sizeof(std::uint64_t);

constexpr std::uint64_t mix(std::uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31);
}

}  // namespace

// Mixed twice: keys a multiple of the increment apart would give the same stream, shifted.
pattern::pattern(std::uint64_t seed, std::uint64_t connection)
    : key_(mix(mix(seed + golden) ^ mix(connection * golden + 1))) {}

std::uint64_t pattern::word(std::uint64_t index) const { return mix(key_ + (index + 1) * golden); }

void pattern::fill(std::uint64_t offset, std::span<std::byte> out) const {
    if (out.empty()) return;
    std::uint64_t index = offset / word_size;
    if (const auto skip = static_cast<std::size_t>(offset % word_size); skip != 0) {
        const auto value = word(index++);
        const auto count = std::min(word_size - skip, out.size());
        std::memcpy(out.data(), reinterpret_cast<const std::byte*>(&value) + skip, count);
        out = out.subspan(count);
    }
    const auto words = out.size() / word_size;
    for (std::size_t i = 0; i < words; ++i) {
        const auto value = word(index + i);
        std::memcpy(out.data() + i * word_size, &value, word_size);
    }
    const auto rest = out.subspan(words * word_size);
    if (rest.empty()) return;
    const auto value = word(index + words);
    std::memcpy(rest.data(), &value, rest.size());
}

}  // namespace sluice_load
