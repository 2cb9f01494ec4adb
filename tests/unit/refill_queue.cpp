// SPDX-License-Identifier: Apache-2.0
#include "zcrx/refill_queue.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <vector>

using sluice::detail::refill_queue;

namespace {

//! The region, with the kernel's side of it.
struct region {
    explicit region(std::uint32_t entries) : bytes((refill_queue::region_bytes(entries) + 7) / 8) {
        offsets.head = 0;
        offsets.tail = 64;
        offsets.rqes = 128;
    }
    [[nodiscard]] std::uint32_t& word(std::size_t at) {
        return *reinterpret_cast<std::uint32_t*>(reinterpret_cast<std::byte*>(bytes.data()) + at);
    }
    [[nodiscard]] const io_uring_zcrx_rqe& entry(std::size_t i) {
        return reinterpret_cast<const io_uring_zcrx_rqe*>(
            reinterpret_cast<std::byte*>(bytes.data()) + 128)[i];
    }
    std::vector<std::uint64_t> bytes;
    io_uring_zcrx_offsets offsets{};
};

}  // namespace

TEST_CASE("refill_queue: what is written is seen when it is published, and full is full") {
    region kernel_side(4);
    refill_queue queue;
    queue.attach(kernel_side.bytes.data(), kernel_side.offsets, 4);
    for (std::uint64_t i = 0; i < 4; ++i) {
        CHECK_FALSE(queue.full());
        queue.write(i << 12, 4096);
        CHECK(kernel_side.word(64) == 0);
    }
    CHECK(queue.full());
    CHECK(queue.unseen() == 0);
    queue.publish();
    CHECK(kernel_side.word(64) == 4);
    CHECK(queue.unseen() == 4);
    for (std::uint64_t i = 0; i < 4; ++i) CHECK(kernel_side.entry(i).off == i << 12);
}

TEST_CASE("refill_queue: it goes round, also where the counters overflow") {
    region kernel_side(4);
    kernel_side.word(0) = kernel_side.word(64) = UINT32_MAX - 5;
    refill_queue queue;
    queue.attach(kernel_side.bytes.data(), kernel_side.offsets, 4);
    std::uint32_t taken = UINT32_MAX - 5;
    for (std::uint64_t i = 0; i < 100; ++i) {
        REQUIRE_FALSE(queue.full());
        queue.write(i, 1);
        queue.publish();
        CHECK(queue.unseen() == 1);
        CHECK(kernel_side.entry(taken & 3).off == i);
        kernel_side.word(0) = ++taken;
        CHECK(queue.unseen() == 0);
    }
}
