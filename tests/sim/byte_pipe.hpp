// SPDX-License-Identifier: Apache-2.0
//! One direction of a TCP connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sim/lent_memory.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

//! Bytes on their way from one end to the other: cut into segments of random size, each with a time
//! of arrival, in order. What has arrived waits to be read. Bounded by both ends' buffers.
class byte_pipe {
public:
    enum class arrival : unsigned char { data, end, reset };

    byte_pipe(world& w, std::size_t send_buffer, std::size_t receive_buffer)
        : world_(w), send_buffer_(send_buffer), receive_buffer_(receive_buffer) {}

    void set_send_buffer(std::size_t bytes) noexcept { send_buffer_ = bytes; }
    void set_receive_buffer(std::size_t bytes) noexcept { receive_buffer_ = bytes; }

    //! Nothing arrives before `time`.
    void hold_until(std::int64_t time) noexcept { last_arrival_ = time; }

    // The sending end.

    //! How many bytes can be written now.
    [[nodiscard]] std::size_t room() const noexcept;
    //! Whether there is enough room to tell a waiting sender, which is not at every byte.
    [[nodiscard]] bool worth_writing() const noexcept;
    //! At most room() bytes. `lent` is kept until they have arrived, or never will.
    void write(std::span<const std::byte> bytes, const std::shared_ptr<lent_memory>& lent);
    //! The end of the stream, behind everything written.
    void write_end() { append({0, arrival::end, 0, nullptr}); }
    //! A reset behind what is still on its way; a random part of that never arrives.
    void write_reset();
    //! Nothing that has not arrived ever will.
    void cut() noexcept;
    //! Bytes written that have not arrived.
    [[nodiscard]] std::size_t unarrived() const noexcept { return data_.size() - head_ - arrived_; }

    // The receiving end.

    //! When deliver() has to be called next; nothing while nothing can arrive.
    [[nodiscard]] std::optional<std::int64_t> next_arrival() const noexcept;
    //! Takes in the next segment. next_arrival() must have passed.
    arrival deliver();
    [[nodiscard]] std::size_t readable() const noexcept { return arrived_; }
    //! Whether the end of the stream has arrived, behind what is readable.
    [[nodiscard]] bool ended() const noexcept { return ended_; }
    //! At most readable() bytes; returns how many.
    std::size_t read(std::span<std::byte> to);

    //! Everything ever written and read.
    [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

private:
    struct segment {
        std::size_t bytes;
        arrival kind;
        std::int64_t time;
        std::shared_ptr<lent_memory> lent;
    };
    void append(segment s);
    [[nodiscard]] std::size_t window() const noexcept;
    [[nodiscard]] std::int64_t latency() noexcept;

    world& world_;
    std::size_t send_buffer_;
    std::size_t receive_buffer_;
    std::vector<std::byte> data_;  // from head_: arrived_ bytes, then those on their way
    std::size_t head_ = 0;
    std::size_t arrived_ = 0;
    std::deque<segment> segments_;
    std::int64_t last_arrival_ = 0;
    std::uint64_t written_ = 0;
    bool ended_ = false;
};

}  // namespace sluice::sim
