// SPDX-License-Identifier: Apache-2.0
#include "runtime/registered_buffers.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "runtime/kernel/kernel.hpp"
#include "sluice/log.hpp"
#include "support/child.hpp"

#include <doctest/doctest.h>

using sluice::features;
using sluice::reactor_options;
using sluice::detail::fixed_region;
using sluice::detail::linux_kernel;
using sluice::detail::registered_buffers;
using sluice::detail::ring;

namespace {

struct table {
    explicit table(std::uint32_t limit) {
        features found;
        opened = own_ring.open(reactor_options{}, found).has_value();
        buffers.set_limit(limit);
    }

    std::shared_ptr<fixed_region> region(std::size_t bytes = 8192) {
        memory.push_back(std::make_unique<std::byte[]>(bytes));
        return std::make_shared<fixed_region>(std::span(memory.back().get(), bytes));
    }

    ring own_ring{linux_kernel()};
    registered_buffers buffers{own_ring};
    bool opened = false;
    std::vector<std::unique_ptr<std::byte[]>> memory;
};

constexpr int none = registered_buffers::none;

}  // namespace

TEST_SUITE_BEGIN("registered_buffers");

TEST_CASE("registered buffers: a region keeps its index, and gives it up") {
    table t(3);
    REQUIRE(t.opened);
    CHECK(t.buffers.index_of(nullptr) == none);
    const auto a = t.region();
    const auto b = t.region();
    const int of_a = t.buffers.index_of(a);
    const int of_b = t.buffers.index_of(b);
    CHECK(of_a != none);
    CHECK(of_b != none);
    CHECK(of_a != of_b);
    CHECK(t.buffers.index_of(a) == of_a);
    CHECK(t.buffers.count() == 2);
    t.buffers.remove(*a);
    t.buffers.remove(*a);
    CHECK(t.buffers.count() == 1);
    const auto c = t.region();
    CHECK(t.buffers.index_of(c) == of_a);
    CHECK(t.buffers.index_of(b) == of_b);
    CHECK(t.buffers.refused() == 0);
}

TEST_CASE("registered buffers: beyond the limit there are none, until a source has gone") {
    table t(2);
    REQUIRE(t.opened);
    auto a = t.region();
    const auto b = t.region();
    const auto c = t.region();
    const int of_a = t.buffers.index_of(a);
    CHECK(t.buffers.index_of(b) != none);
    CHECK(t.buffers.index_of(c) == none);
    CHECK(t.buffers.index_of(c) == none);
    CHECK(t.buffers.refused() == 1);  // not asked for twice
    a->retire();
    const std::weak_ptr<fixed_region> gone = a;
    a.reset();
    CHECK_FALSE(gone.expired());
    const auto d = t.region();
    CHECK(t.buffers.index_of(d) == of_a);
    CHECK(gone.expired());
    CHECK(t.buffers.count() == 2);
}

TEST_CASE("registered buffers: none is a limit, too") {
    table t(0);
    REQUIRE(t.opened);
    CHECK(t.buffers.index_of(t.region()) == none);
    CHECK(t.buffers.count() == 0);
    CHECK(t.buffers.refused() == 0);
}

TEST_CASE("registered buffers: too little locked memory is counted, and named once") {
    const auto outcome = sluice::testing::in_child([] {
        // Who may lock memory without a limit has none.
        const rlimit little{4096, 4096};
        if (!sluice::set_log_level("warning")) return 9;
        if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 1;
        table t(4);
        if (!t.opened) return 2;
        if (::setrlimit(RLIMIT_MEMLOCK, &little) != 0) return 3;
        const auto large = t.region(1 << 20);
        if (t.buffers.index_of(large) != none) return 4;
        if (t.buffers.index_of(large) != none) return 5;
        if (t.buffers.index_of(t.region(1 << 20)) != none) return 6;
        if (t.buffers.refused() != 2) return 7;
        return t.buffers.count() == 0 ? 0 : 8;
    });
    INFO("standard error of the child: ", outcome.errors);
    CHECK(outcome.exit_code == 0);
    const auto first = outcome.errors.find("RLIMIT_MEMLOCK");
    CHECK(first != std::string::npos);
    CHECK(outcome.errors.find("RLIMIT_MEMLOCK", first + 1) == std::string::npos);
}

TEST_SUITE_END();
