// SPDX-License-Identifier: Apache-2.0
#include "../checker.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

using sluice_load::find_mismatch;
using sluice_load::pattern;

namespace {

constexpr std::uint64_t start = 1'000'003;
constexpr std::size_t length = 50'000;

struct stream {
    pattern source{3, 4};
    std::vector<std::byte> bytes = std::vector<std::byte>(length);

    stream() { source.fill(start, bytes); }

    [[nodiscard]] auto at(std::size_t index) {
        return bytes.begin() + static_cast<std::ptrdiff_t>(index);
    }
    [[nodiscard]] auto check() const { return find_mismatch(source, start, bytes); }
};

}  // namespace

TEST_CASE("what was sent is accepted, in one piece and in many") {
    const stream sent;
    CHECK_FALSE(sent.check());
    for (std::size_t at = 0; at < length; at += 777) {
        const auto part =
            std::span(sent.bytes).subspan(at, std::min<std::size_t>(777, length - at));
        CHECK_FALSE(find_mismatch(sent.source, start + at, part));
    }
}

TEST_CASE("a single flipped bit is found wherever it is") {
    for (const std::size_t index : {0U, 1U, 7U, 8U, 16'383U, 16'384U, 33'333U, 49'999U}) {
        stream changed;
        *changed.at(index) ^= std::byte{0x10};
        const auto found = changed.check();
        REQUIRE(found);
        CHECK(found->offset == start + index);
        CHECK((found->expected ^ found->actual) == std::byte{0x10});
    }
}

TEST_CASE("a lost byte is found and named") {
    stream changed;
    changed.bytes.erase(changed.at(20'000));
    const auto found = changed.check();
    REQUIRE(found);
    CHECK(found->offset >= start + 20'000);
    CHECK(found->offset < start + 20'008);
    CHECK(found->origin == found->offset + 1);
    CHECK(found->describe().find("1 bytes are missing") != std::string::npos);
}

TEST_CASE("a duplicated byte is found and named") {
    stream changed;
    changed.bytes.insert(changed.at(20'000), *changed.at(20'000));
    const auto found = changed.check();
    REQUIRE(found);
    CHECK(found->offset > start + 20'000);
    CHECK(found->offset < start + 20'008);
    CHECK(found->origin == found->offset - 1);
    CHECK(found->describe().find("came again") != std::string::npos);
}

TEST_CASE("exchanged blocks are found") {
    stream changed;
    std::swap_ranges(changed.at(8'000), changed.at(12'000), changed.at(16'000));
    const auto found = changed.check();
    REQUIRE(found);
    CHECK(found->offset == start + 8'000);
    CHECK(found->origin == start + 16'000);
}

TEST_CASE("the bytes of another connection are found") {
    stream changed;
    pattern(3, 5).fill(start + 30'000, std::span(changed.bytes).subspan(30'000));
    const auto found = changed.check();
    REQUIRE(found);
    CHECK(found->offset < start + 30'008);
    CHECK_FALSE(found->origin);
}
