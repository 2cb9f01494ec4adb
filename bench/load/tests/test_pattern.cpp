// SPDX-License-Identifier: Apache-2.0
#include "../pattern.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

using sluice_load::pattern;

namespace {

std::vector<std::byte> bytes_of(const pattern& source, std::uint64_t offset, std::size_t count) {
    std::vector<std::byte> out(count);
    source.fill(offset, out);
    return out;
}

std::uint64_t eight_at(const std::vector<std::byte>& bytes, std::size_t offset) {
    std::uint64_t out = 0;
    std::memcpy(&out, bytes.data() + offset, sizeof out);
    return out;
}

}  // namespace

TEST_CASE("any part of the stream is the same as within the whole") {
    const pattern source(1, 2);
    const auto whole = bytes_of(source, 0, 200);
    for (std::size_t offset = 0; offset < 40; ++offset) {
        for (std::size_t count = 0; count < 40; ++count) {
            const auto part = bytes_of(source, offset, count);
            const auto same = std::equal(part.begin(), part.end(),
                                         whole.begin() + static_cast<std::ptrdiff_t>(offset));
            CHECK(same);
        }
    }
}

TEST_CASE("seeds and connections have streams of their own") {
    std::set<std::uint64_t> seen;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        for (std::uint64_t connection = 0; connection < 200; ++connection) {
            seen.insert(eight_at(bytes_of(pattern(seed, connection), 0, 8), 0));
        }
    }
    CHECK(seen.size() == 10'000);
}

TEST_CASE("no eight bytes of a stream come again at another offset") {
    const auto whole = bytes_of(pattern(7, 7), 0, 100'000);
    std::set<std::uint64_t> seen;
    for (std::size_t at = 0; at + 8 <= whole.size(); ++at) seen.insert(eight_at(whole, at));
    CHECK(seen.size() == whole.size() - 7);
}

TEST_CASE("offsets beyond four gigabytes are not cut off") {
    const pattern source(1, 1);
    const auto first = eight_at(bytes_of(source, 0, 8), 0);
    CHECK(first != eight_at(bytes_of(source, std::uint64_t{1} << 32, 8), 0));
    CHECK(first != eight_at(bytes_of(source, std::uint64_t{1} << 35, 8), 0));
}
