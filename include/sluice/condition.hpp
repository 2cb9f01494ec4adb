// SPDX-License-Identifier: Apache-2.0
//! Waits until something about shared state is true.
#pragma once

#include <concepts>
#include <utility>

#include "sluice/result.hpp"
#include "sluice/task.hpp"
#include "sluice/wait_line.hpp"

namespace sluice {

//! A condition without a mutex: on one reactor nothing runs between looking at the state and
//! beginning to wait, so no notification can be missed, and none is needed to keep the two
//! together. (State that must stay as it is over other awaits wants a sluice::mutex of its own.)
//! Not movable. Destroying it while coroutines wait in it ends the program.
class condition {
public:
    class [[nodiscard]] wait_awaiter;

    condition() = default;
    condition(const condition&) = delete;
    condition& operator=(const condition&) = delete;

    //! Waits until `holds()` is true, which is asked first and after each notification, by the
    //! coroutine that waits: it is true when this returns success. Gives result<void>; cancelled:
    //! ECANCELED, unless it is true already. Uses a pooled frame.
    template <std::predicate F>
    task<result<void>> wait(F holds);

    //! Waits for the next notification, whatever the state is then. Gives result<void>; cancelled:
    //! ECANCELED, and no notification was used up. Does not allocate.
    wait_awaiter wait() noexcept;

    //! Wakes the one that has waited longest, if there is one. Nothing is kept for later.
    void notify_one() noexcept {
        if (line_.first() != nullptr) line_.grant_first();
    }
    //! Wakes all that wait now.
    void notify_all() noexcept { line_.release_all(); }

private:
    detail::wait_line line_{"condition"};
};

class condition::wait_awaiter final : public detail::wait_node {
public:
    explicit wait_awaiter(condition& c) noexcept : condition_(c) {}
    wait_awaiter(wait_awaiter&&) = default;
    ~wait_awaiter() {
        if (take_grant()) condition_.notify_one();
    }

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (ends_cancelled(h, env)) return true;
        condition_.line_.enter(*this, h, env);
        return true;
    }
    result<void> await_resume() noexcept {
        if (cancelled()) return cancelled_error();
        static_cast<void>(take_grant());
        return {};
    }
    void on_stop() noexcept override { withdraw(); }

private:
    condition& condition_;
};

inline condition::wait_awaiter condition::wait() noexcept { return wait_awaiter{*this}; }

template <std::predicate F>
task<result<void>> condition::wait(F holds) {
    while (!holds()) {
        auto notified = co_await wait();
        if (!notified) co_return notified;
    }
    co_return result<void>{};
}

}  // namespace sluice
