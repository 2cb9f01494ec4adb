// SPDX-License-Identifier: Apache-2.0
//! Names what keeps a reactor from its other work.
#pragma once

#include <source_location>

#include "runtime/kernel/stall_watch.hpp"
#include "sluice/reactor.hpp"

namespace sluice::detail {

//! Watches one reactor, on whose thread it is made and destroyed. The watcher's report has the
//! stack; turns that are over before it looks are counted and logged without one.
class stall_detector final : public watched_thread {
public:
    explicit stall_detector(reactor& home);
    ~stall_detector() { stop_watching(); }

    //! A turn ends that began at `begun`. Gives whether it was too long.
    bool turn_ended(std::int64_t begun, std::int64_t now) noexcept;

private:
    void look() noexcept override;
    void report(std::chrono::nanoseconds lasted, std::span<void* const> stack) noexcept override;
    [[nodiscard]] bool may_log(std::int64_t now, std::uint64_t& suppressed) noexcept;

    reactor& home_;
    std::chrono::nanoseconds limit_;
    bool in_coroutine_ = false;   // what look() has found
    std::source_location where_;  // of it
    std::atomic<std::int64_t> last_log_{0};
    std::atomic<std::uint64_t> suppressed_{0};
    std::atomic<bool> caught_{false};  // the turn that runs has been reported
};

}  // namespace sluice::detail
