// SPDX-License-Identifier: Apache-2.0
//! A nursery that is a member of an object.
#pragma once

#include <cstddef>
#include <utility>

#include "sluice/nursery.hpp"

namespace sluice {

//! What an object does besides: its heartbeat, its writer, its clean-up. The object starts tasks
//! when it wants to and ends them with `co_await bg.stop()` before it goes, because a destructor
//! can't wait. Belongs to the reactor it is made for.
//!
//! Failures are collected by default: nobody awaits the tasks, so the failure of one is logged and
//! counted and the others go on.
class background {
public:
    explicit background(reactor& home,
                        nursery_options options = {.policy = on_failure::collect}) noexcept
        : scope_(home, options) {}
    //! Ends the program when tasks are running: see stop().
    ~background();
    background(const background&) = delete;
    background& operator=(const background&) = delete;

    //! As nursery::spawn() and nursery::spawn_when_room(). Tasks spawned after stop() start
    //! cancelled.
    template <class F, class... Args>
    void spawn(F&& fn, Args&&... args) {
        scope_.spawn(std::forward<F>(fn), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
    [[nodiscard]] auto spawn_when_room(F&& fn, Args&&... args) {
        return scope_.spawn_when_room(std::forward<F>(fn), std::forward<Args>(args)...);
    }

    //! Cancels all tasks, present and future, and waits until the last has ended. A stop of the
    //! awaiting chain changes nothing. Gives what nursery::outcome() does, but for ECANCELED,
    //! which was asked for.
    task<result<void>> stop();

    //! Waits until no task is left, those that are spawned meanwhile included. A stop of the
    //! awaiting chain cancels the tasks. Gives nursery::outcome().
    task<result<void>> join();

    [[nodiscard]] std::size_t tasks() const noexcept { return scope_.children(); }
    [[nodiscard]] nursery& scope() noexcept { return scope_; }

private:
    nursery scope_;
};

}  // namespace sluice
