// SPDX-License-Identifier: Apache-2.0
#include "receive_report.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>

namespace demo {

namespace {

using figures = sluice::net_stats;
constexpr std::array summed{&figures::bytes_in,
                            &figures::zero_copy_bytes,
                            &figures::accepts_right,
                            &figures::accepts_handed_over,
                            &figures::accepts_misplaced,
                            &figures::accepts_unknown,
                            &figures::connects_right,
                            &figures::connects_elsewhere,
                            &figures::detours};

}  // namespace

receive_report::receive_report(const sluice::zcrx_options& zcrx)
    : reactors_per_queue_(std::max(zcrx.reactors_per_queue, 1U)) {}

void receive_report::add(sluice::reactor& home) {
    const sluice::net_stats net = sluice::net_stats_of(home);
    const sluice::zcrx_stats queue = sluice::zcrx_stats_of(home);
    const std::lock_guard lock(mutex_);
    has_queue_ = has_queue_ || queue.in_use;
    for (const auto member : summed) sum_.*member += net.*member;
    // Those who share a queue see the same count.
    if (home.index() % reactors_per_queue_ == 0) copied_ += queue.copied_bytes;
}

std::string receive_report::to_string() const {
    if (!has_queue_) return {};
    const double percent = sum_.bytes_in != 0 ? 100 * static_cast<double>(sum_.zero_copy_bytes) /
                                                    static_cast<double>(sum_.bytes_in)
                                              : 0;
    std::string text =
        fmt::format("received {} bytes, {} kept where they arrived ({:.1f} %), the kernel copied "
                    "{}\n",
                    sum_.bytes_in, sum_.zero_copy_bytes, percent, copied_);
    if (sum_.accepts_right + sum_.accepts_handed_over + sum_.accepts_misplaced != 0)
        text += fmt::format("placement: {} accepted right, {} handed over, {} misplaced, {} not "
                            "known, {} detours\n",
                            sum_.accepts_right, sum_.accepts_handed_over, sum_.accepts_misplaced,
                            sum_.accepts_unknown, sum_.detours);
    if (sum_.connects_right + sum_.connects_elsewhere != 0)
        text += fmt::format("placement: {} connected right, {} elsewhere\n", sum_.connects_right,
                            sum_.connects_elsewhere);
    return text;
}

}  // namespace demo
