// SPDX-License-Identifier: Apache-2.0
//! Time that passes only when the simulated kernel says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

namespace sluice::sim {

//! Nanoseconds since a beginning that is not zero, and what is to happen later.
class virtual_clock {
public:
    //! Names a scheduled event. Valid for cancel() even after the event has happened.
    using event = std::pair<std::int64_t, std::uint64_t>;

    [[nodiscard]] std::int64_t now() const noexcept { return now_; }

    //! `fn` is called when time reaches `time`; at once due, but not called, if that has passed.
    //! Events of the same time happen in the order in which they were scheduled.
    event at(std::int64_t time, std::function<void()> fn);
    event after(std::int64_t delay, std::function<void()> fn) {
        return at(now_ + delay, std::move(fn));
    }

    //! Takes an event back; harmless when it has happened.
    void cancel(event e) noexcept { events_.erase(e); }

    //! When the next event is due; nothing if there is none.
    [[nodiscard]] std::optional<std::int64_t> next() const noexcept;

    //! Moves time forward without calling anything. Never moves it back.
    void advance_to(std::int64_t time) noexcept;

    //! Calls everything that is due, and what becomes due meanwhile. An event may schedule others
    //! and call run_due() itself, which does nothing then.
    void run_due();

    [[nodiscard]] std::size_t pending() const noexcept { return events_.size(); }

    //! Forgets everything that was scheduled, and what that schedules when it goes.
    void clear();

private:
    static constexpr std::int64_t beginning = 1'000'000'000'000;

    std::int64_t now_ = beginning;
    std::uint64_t sequence_ = 0;
    bool running_ = false;
    std::map<event, std::function<void()>> events_;
};

}  // namespace sluice::sim
