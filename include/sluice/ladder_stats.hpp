// SPDX-License-Identifier: Apache-2.0
//! The copy ladder: what a reactor does when the buffers of its receives run short.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice {

//! From the first remedy to the last. Several may be in use at once.
enum class rung : std::uint8_t {
    small_copy,    //!< small slices are copied to the heap when they are received
    full_copy,     //!< all slices are
    evacuate,      //!< slices that nobody has taken yet are moved to the heap
    grow,          //!< memory was added; left only with the reactor
    heal,          //!< receives have ended for want of a buffer and wait for one
    heap,          //!< such receives read into heap memory instead
    close_window,  //!< such receives are not armed, so that TCP stops the sender
};
inline constexpr std::size_t rung_count = 7;

//! In words, e.g. "small-copy".
const char* name_of(rung r) noexcept;

struct rung_stats {
    std::uint64_t entered = 0;
    std::uint64_t left = 0;
    [[nodiscard]] bool in_use() const noexcept { return entered != left; }
};

struct ladder_stats {
    std::array<rung_stats, rung_count> rungs{};
    [[nodiscard]] const rung_stats& of(rung r) const noexcept {
        return rungs[static_cast<std::size_t>(r)];
    }
};

}  // namespace sluice
