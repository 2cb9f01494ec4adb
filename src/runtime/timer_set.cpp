// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "sluice/timer.hpp"

namespace sluice::detail {

namespace {
// Looking at more timers than this for the exact first deadline is not worth a wake-up saved.
constexpr int scan_limit = 32;
}  // namespace

std::size_t timer_set::expire_due(std::int64_t now) noexcept {
    // All buckets up to the one that `now` itself falls into may hold timers that are due; what is
    // in them and not due yet belongs into a lower bucket as seen from `now`.
    timer_link due;
    const std::size_t reached = bucket_of(now);
    for (std::size_t i = 0; i <= reached; ++i)
        while (bucket_[i].next != &bucket_[i]) {
            timer_link& l = *bucket_[i].next;
            unlink(l);
            append(due, l);
        }
    last_ = std::max(last_, now);
    std::size_t expired = 0;
    // The set is whole again before the first callback runs, which may insert and cancel.
    timer_link callbacks;
    while (due.next != &due) {
        timer_link& l = *due.next;
        unlink(l);
        const bool is_due = node_of(l).deadline_ <= now;
        append(is_due ? callbacks : bucket_[bucket_of(node_of(l).deadline_)], l);
    }
    next_ = first_deadline();
    while (callbacks.next != &callbacks) {
        timer_node& t = node_of(*callbacks.next);
        unlink(t);
        --size_;
        ++expired;
        t.on_timer();
    }
    if (size_ == 0) next_ = never;
    return expired;
}

std::int64_t timer_set::first_deadline() const noexcept {
    for (std::size_t i = 0; i < buckets; ++i) {
        const timer_link& list = bucket_[i];
        if (list.next == &list) continue;
        if (i == 0) return last_;  // overdue
        std::int64_t first = never;
        int seen = 0;
        for (const timer_link* l = list.next; l != &list; l = l->next) {
            first = std::min(first, static_cast<const timer_node*>(l)->deadline_);
            if (++seen == scan_limit && l->next != &list) {
                // A bound below every deadline of the bucket: its bit set, the lower ones clear.
                const auto bit = std::uint64_t{1} << (i - 1);
                const auto above = static_cast<std::uint64_t>(last_) & ~(bit | (bit - 1));
                return static_cast<std::int64_t>(above | bit);
            }
        }
        return first;
    }
    return never;
}

}  // namespace sluice::detail
