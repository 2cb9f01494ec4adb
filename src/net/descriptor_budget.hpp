// SPDX-License-Identifier: Apache-2.0
//! How many descriptors the process may still open: what listeners look at before they accept.
#pragma once

#include <cstdint>

namespace sluice::detail {

//! Counts the sockets of all reactors. Other descriptors are counted by refresh(). From any thread.
class descriptor_budget {
public:
    static void acquired() noexcept;
    static void released() noexcept;

    //! Reads the limit, and counts what else is open. Costs a walk through /proc/self/fd.
    static void refresh() noexcept;

    //! How many may still be opened.
    [[nodiscard]] static std::int64_t left() noexcept;

    //! Whether fewer than `headroom` descriptors are left, or than a quarter of all, if that is
    //! less.
    [[nodiscard]] static bool scarce(std::uint32_t headroom) noexcept;
};

}  // namespace sluice::detail
