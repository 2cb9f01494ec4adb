// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice_load {

using clock_type = std::chrono::steady_clock;
using time_point = clock_type::time_point;

/// The messages of one connection: how many were begun, how far the stream has been sent and
/// received, and when the first byte of each message in flight left.
/// Contract: at most `depth` messages in flight; sent <= begun * size; received <= sent.
class pipeline {
public:
    pipeline(std::uint64_t message_size, std::size_t depth)
        : message_size_(message_size), first_sent_(depth) {}

    void reset() { begun_ = stamped_ = completed_ = sent_ = received_ = 0; }

    [[nodiscard]] std::uint64_t begun() const { return begun_; }
    [[nodiscard]] std::uint64_t completed() const { return completed_; }
    [[nodiscard]] std::uint64_t sent() const { return sent_; }
    [[nodiscard]] std::uint64_t received() const { return received_; }
    [[nodiscard]] std::uint64_t in_flight() const { return begun_ - completed_; }
    [[nodiscard]] bool full() const { return in_flight() >= first_sent_.size(); }
    [[nodiscard]] std::uint64_t unsent() const { return begun_ * message_size_ - sent_; }
    [[nodiscard]] std::uint64_t unreceived() const { return sent_ - received_; }

    void begin() { ++begun_; }

    /// count more bytes left; `when` is the time just before the write.
    void on_sent(std::uint64_t count, time_point when) {
        sent_ += count;
        for (; stamped_ * message_size_ < sent_; ++stamped_) {
            first_sent_[stamped_ % first_sent_.size()] = when;
        }
    }

    /// count more bytes came; calls record(latency) for each message they complete.
    template <typename Record>
    void on_received(std::uint64_t count, time_point when, Record&& record) {
        received_ += count;
        for (; (completed_ + 1) * message_size_ <= received_; ++completed_) {
            record(std::chrono::nanoseconds(when - first_sent_[completed_ % first_sent_.size()]));
        }
    }

private:
    std::uint64_t message_size_;
    std::uint64_t begun_ = 0;
    std::uint64_t stamped_ = 0;
    std::uint64_t completed_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
    std::vector<time_point> first_sent_;
};

}  // namespace sluice_load
