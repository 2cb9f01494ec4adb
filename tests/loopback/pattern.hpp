// SPDX-License-Identifier: Apache-2.0
//! Bytes that look random and can be told from their place: what was lost, doubled or mixed shows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace sluice::testing {

//! An endless stream of bytes, chosen by a seed. Byte i is the same however it is asked for.
class pattern {
public:
    explicit pattern(std::uint64_t seed) noexcept : seed_(seed) {}

    //! Bytes from `offset` on.
    void fill(std::uint64_t offset, std::span<std::byte> to) const noexcept {
        each(offset, to.size(), [&](std::size_t at, const std::byte* bytes, std::size_t n) {
            std::memcpy(to.data() + at, bytes, n);
            return true;
        });
    }

    //! Whether `bytes` are those from `offset` on.
    [[nodiscard]] bool matches(std::uint64_t offset,
                               std::span<const std::byte> bytes) const noexcept {
        return each(offset, bytes.size(),
                    [&](std::size_t at, const std::byte* expected, std::size_t n) {
                        return std::memcmp(bytes.data() + at, expected, n) == 0;
                    });
    }

    [[nodiscard]] std::vector<std::byte> bytes(std::uint64_t offset, std::size_t count) const {
        std::vector<std::byte> made(count);
        fill(offset, made);
        return made;
    }

private:
    // One block of 64 bytes at a time, aligned to the stream.
    template <class F>
    bool each(std::uint64_t offset, std::size_t size, F f) const noexcept {
        std::size_t done = 0;
        while (done < size) {
            const std::uint64_t position = offset + done;
            const std::size_t skip = position % block_bytes;
            const std::size_t n = std::min(block_bytes - skip, size - done);
            std::byte block[block_bytes];
            for (std::size_t i = 0; i < block_bytes / 8; ++i) {
                const std::uint64_t word = mix(position / block_bytes * (block_bytes / 8) + i);
                std::memcpy(block + i * 8, &word, 8);
            }
            if (!f(done, block + skip, n)) return false;
            done += n;
        }
        return true;
    }
    [[nodiscard]] std::uint64_t mix(std::uint64_t index) const noexcept {
        std::uint64_t x = seed_ * 0x9e3779b97f4a7c15U + index;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
        return x ^ (x >> 31);
    }

    static constexpr std::size_t block_bytes = 64;
    std::uint64_t seed_;
};

//! Checks a stream as it comes, in pieces of any size.
class pattern_reader {
public:
    explicit pattern_reader(std::uint64_t seed) noexcept : pattern_(seed) {}

    //! False, now and ever after, when the bytes are not the next ones.
    bool take(std::span<const std::byte> bytes) noexcept {
        intact_ = intact_ && pattern_.matches(taken_, bytes);
        taken_ += bytes.size();
        return intact_;
    }
    [[nodiscard]] bool intact() const noexcept { return intact_; }
    [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }

private:
    pattern pattern_;
    std::uint64_t taken_ = 0;
    bool intact_ = true;
};

}  // namespace sluice::testing
