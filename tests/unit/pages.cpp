// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/pages.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>

using sluice::page_kind;
using sluice::detail::mapped_pages;

TEST_CASE("pages: what can't be had is replaced, never by something better") {
    for (const page_kind best : {page_kind::huge, page_kind::transparent, page_kind::small}) {
        const auto pages = mapped_pages::map(3'000'000, best, -1);
        REQUIRE(pages.has_value());
        CHECK(pages->kind() >= best);
        CHECK(pages->size() >= 3'000'000);
        const bool small = pages->kind() == page_kind::small;
        const std::size_t page = small ? 4096 : std::size_t{2} << 20;
        CHECK(pages->size() % page == 0);
        CHECK(reinterpret_cast<std::uintptr_t>(pages->data()) % page == 0);
        std::memset(pages->data(), 1, pages->size());
    }
}

TEST_CASE("pages: small ones are as many as asked for") {
    const auto pages = mapped_pages::map(4096 * 3, page_kind::small, -1);
    REQUIRE(pages.has_value());
    CHECK(pages->kind() == page_kind::small);
    CHECK(pages->size() == 4096 * 3);
}

TEST_CASE("pages: on a node that is there, and on one that can't be") {
    const auto here = mapped_pages::map(4096, page_kind::small, 0);
    REQUIRE(here.has_value());
    const auto nowhere = mapped_pages::map(4096, page_kind::small, 1000);
    REQUIRE(nowhere.has_value());
    CHECK_FALSE(nowhere->on_node());
}

TEST_CASE("pages: no memory is an error") {
    CHECK_FALSE(mapped_pages::map(std::size_t{1} << 60, page_kind::small, -1).has_value());
}
