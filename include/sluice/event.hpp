// SPDX-License-Identifier: Apache-2.0
//! A flag that coroutines of one reactor can wait for.
#pragma once

#include "sluice/result.hpp"
#include "sluice/wait_line.hpp"

namespace sluice {

//! Stays set until it is reset. For one reactor; not movable. Destroying it while coroutines wait
//! in it ends the program; those that set() has woken no longer need it.
class event {
public:
    class [[nodiscard]] wait_awaiter;

    explicit event(bool set = false) noexcept : set_(set) {}

    //! Wakes all that wait. They have been woken even if reset() follows before they run.
    void set() noexcept {
        set_ = true;
        line_.release_all();
    }
    void reset() noexcept { set_ = false; }
    [[nodiscard]] bool is_set() const noexcept { return set_; }

    //! Ends when the event is set, at once if it is. Gives result<void>; cancelled: ECANCELED, and
    //! nothing is left behind. Does not allocate.
    wait_awaiter wait() noexcept;

private:
    bool set_;
    detail::wait_line line_{"event"};
};

class event::wait_awaiter final : public detail::wait_node {
public:
    explicit wait_awaiter(event& e) noexcept : event_(e) {}

    bool await_ready() const noexcept { return event_.set_; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (ends_cancelled(h, env)) return true;
        if (event_.set_) return false;
        event_.line_.enter(*this, h, env);
        return true;
    }
    result<void> await_resume() const noexcept {
        if (cancelled()) return cancelled_error();
        return {};
    }
    void on_stop() noexcept override { withdraw(); }

private:
    event& event_;
};

inline event::wait_awaiter event::wait() noexcept { return wait_awaiter{*this}; }

}  // namespace sluice
