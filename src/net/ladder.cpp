// SPDX-License-Identifier: Apache-2.0
#include "net/ladder.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "sluice/log.hpp"

namespace sluice {

const char* name_of(rung r) noexcept {
    switch (r) {
        case rung::small_copy: return "small-copy";
        case rung::full_copy: return "full-copy";
        case rung::evacuate: return "evacuate";
        case rung::grow: return "grow";
        case rung::heal: return "heal";
        case rung::heap: return "heap";
        case rung::close_window: return "close-window";
    }
    return "?";
}

namespace detail {

void ladder::cross(std::uint32_t free, std::uint32_t total) noexcept {
    const auto part = [&](std::uint32_t percent) {
        return static_cast<std::uint32_t>(std::uint64_t{total} * percent / 100);
    };
    const std::array<std::uint32_t, by_filling> marks{marks_.small_copy, marks_.full_copy,
                                                      marks_.evacuate};
    total_ = total;
    low_ = 0;
    high_ = UINT32_MAX;
    for (std::size_t i = 0; i < by_filling; ++i) {
        const auto r = static_cast<rung>(i);
        // With none left a rung is in use, however few there are; a mark of 0 takes it out.
        const std::uint32_t enter_below = marks[i] == 0 ? 0 : std::max(part(marks[i]), 1U);
        const std::uint32_t leave_from = std::min(
            std::max(part(marks[i] + marks_.margin), enter_below + 1), std::max(total, 1U));
        if (free < enter_below)
            enter(r);
        else if (free >= leave_from)
            leave(r);
        if (on(r))
            high_ = std::min(high_, leave_from);
        else
            low_ = std::max(low_, enter_below);
    }
}

void ladder::enter(rung r) noexcept {
    if (on(r)) return;
    ++stats_.rungs[static_cast<std::size_t>(r)].entered;
    tell(r, true);
}

void ladder::leave(rung r) noexcept {
    if (!on(r)) return;
    ++stats_.rungs[static_cast<std::size_t>(r)].left;
    tell(r, false);
}

// The first time for everyone; a ladder that goes up and down must not fill the log.
void ladder::tell(rung r, bool entered) const noexcept {
    const rung_stats& s = stats_.of(r);
    const bool first = (entered ? s.entered : s.left) == 1;
    try {
        logger()->log(first ? spdlog::level::info : spdlog::level::debug,
                      "{}: {} rung {} of the copy ladder", of_, entered ? "entered" : "left",
                      name_of(r));
    } catch (...) {
        // A line less in the log.
    }
}

}  // namespace detail
}  // namespace sluice
