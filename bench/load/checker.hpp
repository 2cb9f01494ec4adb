// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pattern.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace sluice_load {

/// The first byte of a stream that is not what was sent.
struct mismatch {
    std::uint64_t offset = 0;
    std::byte expected{};
    std::byte actual{};
    /// Where in the same stream the bytes received at offset belong, if they were found near it:
    /// farther on means bytes were lost, farther back that they came twice.
    std::optional<std::uint64_t> origin;

    [[nodiscard]] std::string describe() const;
};

/// Compares what was received at an offset of the stream with what was sent there.
std::optional<mismatch> find_mismatch(const pattern& sent, std::uint64_t offset,
                                      std::span<const std::byte> received);

}  // namespace sluice_load
