// SPDX-License-Identifier: Apache-2.0
//! The policy of the copy ladder: when a rung is entered and left.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sluice/ladder_stats.hpp"
#include "sluice/zcrx_options.hpp"

namespace sluice::detail {

//! For the buffers of one kind. The first three rungs follow from how many are free, with a margin
//! between entering and leaving; the others are entered and left by whoever takes the measure.
class ladder {
public:
    //! `of` names the buffers in the log.
    ladder(std::string of, const ladder_marks& marks) : of_(std::move(of)), marks_(marks) {}

    //! `free` of `total` buffers are left: whether that is between the same marks as before.
    [[nodiscard]] bool steady(std::uint32_t free, std::uint32_t total) const noexcept {
        return total == total_ && free >= low_ && free < high_;
    }
    //! Enters and leaves what it is time for.
    void observe(std::uint32_t free, std::uint32_t total) noexcept {
        if (!steady(free, total)) cross(free, total);
    }

    [[nodiscard]] bool on(rung r) const noexcept { return stats_.of(r).in_use(); }
    void enter(rung r) noexcept;
    void leave(rung r) noexcept;
    void set(rung r, bool in_use) noexcept { in_use ? enter(r) : leave(r); }

    [[nodiscard]] const ladder_stats& stats() const noexcept { return stats_; }

private:
    static constexpr std::size_t by_filling = 3;
    void cross(std::uint32_t free, std::uint32_t total) noexcept;
    void tell(rung r, bool entered) const noexcept;

    std::string of_;
    ladder_marks marks_;
    ladder_stats stats_;
    std::uint32_t total_ = 0;
    std::uint32_t low_ = 0;  // nothing changes while low_ <= free < high_
    std::uint32_t high_ = 0;
};

}  // namespace sluice::detail
