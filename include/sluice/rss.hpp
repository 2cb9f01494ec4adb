// SPDX-License-Identifier: Apache-2.0
//! How a NIC spreads flows over its receive queues: receive side scaling.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

//! The hash key, and the queue of each hash modulo the size of the table.
struct rss_table {
    std::vector<std::uint8_t> key;
    std::vector<std::uint32_t> queues;
};

//! The Toeplitz hash (Microsoft, "RSS hashing types"): for each bit of the input that is set the 32
//! bits of the key that begin at its place. A key with fewer than `input` + 4 bytes goes on with
//! zeros.
std::uint32_t toeplitz_hash(std::span<const std::uint8_t> key,
                            std::span<const std::uint8_t> input) noexcept;

}  // namespace sluice
