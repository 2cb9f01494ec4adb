// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice_load {

/// The bytes one connection sends: a function of a key and the offset in its stream and of nothing
/// else, so that any part can be made again at any time and nothing has to be kept to compare with.
/// Words are SplitMix64 outputs; two offsets or two connections agree on 8 bytes only by chance.
class pattern {
public:
    pattern() = default;
    pattern(std::uint64_t seed, std::uint64_t connection);

    /// Writes the bytes of the stream from offset on.
    void fill(std::uint64_t offset, std::span<std::byte> out) const;

private:
    [[nodiscard]] std::uint64_t word(std::uint64_t index) const;

    std::uint64_t key_ = 0;
};

}  // namespace sluice_load
