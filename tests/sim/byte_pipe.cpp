// SPDX-License-Identifier: Apache-2.0
#include "sim/byte_pipe.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sluice::sim {

std::size_t byte_pipe::room() const noexcept {
    const std::size_t used = unarrived();
    return used < send_buffer_ ? send_buffer_ - used : 0;
}

bool byte_pipe::worth_writing() const noexcept { return room() * 3 >= send_buffer_; }

std::size_t byte_pipe::window() const noexcept {
    return arrived_ < receive_buffer_ ? receive_buffer_ - arrived_ : 0;
}

std::int64_t byte_pipe::latency() noexcept {
    return world_.random.between(world_.options.latency_min, world_.options.latency_max);
}

void byte_pipe::append(segment s) {
    s.time = std::max(last_arrival_, world_.clock.now() + latency());
    if (!segments_.empty() && world_.random.chance(world_.options.merge_rate))
        s.time = std::max(last_arrival_, segments_.back().time);
    last_arrival_ = s.time;
    segments_.push_back(std::move(s));
}

void byte_pipe::write(std::span<const std::byte> bytes, const std::shared_ptr<lent_memory>& lent) {
    if (head_ > data_.size() / 2) {
        data_.erase(data_.begin(), data_.begin() + static_cast<std::ptrdiff_t>(head_));
        head_ = 0;
    }
    data_.insert(data_.end(), bytes.begin(), bytes.end());
    written_ += bytes.size();
    for (std::size_t left = bytes.size(); left != 0;) {
        std::size_t length = std::min(left, world_.options.segment_bytes);
        if (world_.random.chance(world_.options.split_rate))
            length = 1 + world_.random.below(length);
        append({length, arrival::data, 0, lent});
        left -= length;
    }
}

void byte_pipe::write_reset() {
    // A reset does not wait for room, so only what has room is on its way before it.
    std::size_t possible = 0;
    for (std::size_t bytes = 0; possible < segments_.size(); ++possible) {
        bytes += segments_[possible].bytes;
        if (bytes > window()) break;
    }
    const std::size_t kept = world_.random.below(possible + 1);
    while (segments_.size() > kept) {
        data_.resize(data_.size() - segments_.back().bytes);
        segments_.pop_back();
    }
    append({0, arrival::reset, 0, nullptr});
}

void byte_pipe::cut() noexcept {
    segments_.clear();
    data_.resize(head_ + arrived_);
}

std::optional<std::int64_t> byte_pipe::next_arrival() const noexcept {
    if (segments_.empty()) return std::nullopt;
    const segment& first = segments_.front();
    // A receiver announces room only when it is worth a segment.
    if (first.kind == arrival::data && window() < std::min(first.bytes, receive_buffer_ / 2 + 1))
        return std::nullopt;
    return first.time;
}

byte_pipe::arrival byte_pipe::deliver() {
    segment& first = segments_.front();
    const arrival kind = first.kind;
    if (kind == arrival::data) {
        const std::size_t fits = std::min(first.bytes, window());
        arrived_ += fits;
        first.bytes -= fits;
        if (first.bytes != 0) return kind;
    }
    if (kind == arrival::end) ended_ = true;
    segments_.pop_front();
    return kind;
}

std::size_t byte_pipe::read(std::span<std::byte> to) {
    const bool was_blocked = !segments_.empty() && !next_arrival();
    const std::size_t count = std::min(to.size(), arrived_);
    if (count != 0) std::memcpy(to.data(), data_.data() + head_, count);
    head_ += count;
    arrived_ -= count;
    // The news that there is room travels, too.
    if (was_blocked)
        segments_.front().time = std::max(segments_.front().time, world_.clock.now() + latency());
    return count;
}

}  // namespace sluice::sim
