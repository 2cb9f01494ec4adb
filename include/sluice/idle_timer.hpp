// SPDX-License-Identifier: Apache-2.0
//! One timer for many awaits: ends what waits when nothing has happened for a while.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "sluice/awaitable.hpp"
#include "sluice/result.hpp"
#include "sluice/timeout.hpp"

namespace sluice {

namespace detail {

struct guard_link {
    guard_link* prev = this;
    guard_link* next = this;
};

//! An await that an idle_timer watches.
class guard_base : public guard_link {
public:
    //! The time is over.
    virtual void on_idle() noexcept = 0;

protected:
    ~guard_base() = default;
};

template <class A>
class guard_awaiter;

}  // namespace detail

//! The time since the last touch() of a connection or whatever else may fall silent. It begins with
//! the first guard(). When it has run out, every guarded await is cancelled and gives
//! error::timeout, and so does each later one, without being started, until touch(). Used on one
//! reactor, and not moved. Guarded awaits must have ended before it goes.
class idle_timer final : private detail::timer_node {
public:
    explicit idle_timer(std::chrono::nanoseconds limit) noexcept : limit_(limit) {}
    ~idle_timer();

    //! Something happened: the time starts again. Stores the time of the reactor's turn, nothing
    //! else: a timer that expires early looks at it and is set once more.
    void touch() noexcept {
        if (home_ == nullptr) return;
        touched_ = home_->now();
        if (expired_) restart();
    }

    //! Awaits `a`, which gives a result<T>, as long as the time has not run out. What counts as
    //! something happening is said with touch() alone. Any number may be guarded at once. A result
    //! that was there first wins. Costs no SQE, no allocation, and no timer of its own.
    template <awaitable A>
    auto guard(A a) {
        return detail::guard_awaiter<A>{*this, std::move(a)};
    }

    [[nodiscard]] bool expired() const noexcept { return expired_; }
    [[nodiscard]] std::chrono::nanoseconds limit() const noexcept { return limit_; }

private:
    template <class A>
    friend class detail::guard_awaiter;
    void enter(detail::guard_base& g, reactor& home) noexcept;
    static void leave(detail::guard_base& g) noexcept;
    void restart() noexcept;
    void on_timer() noexcept override;

    std::chrono::nanoseconds limit_;
    reactor* home_ = nullptr;
    reactor::clock::time_point touched_{};
    bool expired_ = false;
    detail::guard_link guards_;
};

namespace detail {

template <class A>
class [[nodiscard]] guard_awaiter final : private stop_listener, private guard_base {
    using outcome = await_result_t<A>;
    static_assert(is_result<std::remove_cvref_t<outcome>>,
                  "idle_timer::guard needs an awaitable that gives a result<T>");

public:
    static constexpr bool takes_on_resume = sluice::takes_on_resume<A>;

    guard_awaiter(idle_timer& timer, A inner) noexcept(std::is_nothrow_move_constructible_v<A>)
        : timer_(timer), inner_(std::move(inner)) {}
    guard_awaiter(guard_awaiter&& o) noexcept(std::is_nothrow_move_constructible_v<A>)
        : stop_listener(), guard_base(), timer_(o.timer_), inner_(std::move(o.inner_)) {}
    ~guard_awaiter() { end(); }

    bool await_ready() const {
        return timer_.home_ != nullptr && !timer_.expired_ && inner_.await_ready();
    }

    bool await_suspend(std::coroutine_handle<> h, const environment& outer) {
        if (timer_.expired_ && !outer.stop.stop_requested()) {
            too_late_ = true;
            return false;
        }
        outer_ = &outer;
        if (outer.stop.stop_requested()) stop_.request_stop();
        new (&env_) environment{outer.home, stop_};
        timer_.enter(*this, outer.home);
        if (!stop_.stop_requested() && inner_.await_ready()) return false;
        outer.stop.listen(*this);
        return inner_.await_suspend(h, env_);
    }

    outcome await_resume() {
        if (too_late_) return error::timeout;
        end();
        outcome r = inner_.await_resume();
        if (timed_out_ && r.has_error() && r.error() == cancelled_error()) return error::timeout;
        return r;
    }

private:
    void end() noexcept {
        if (outer_ == nullptr) return;
        outer_->stop.forget(*this);
        idle_timer::leave(*this);
        outer_ = nullptr;
    }
    void on_idle() noexcept override {
        timed_out_ = !stop_.stop_requested();
        stop_.request_stop();
    }
    void on_stop() noexcept override { stop_.request_stop(); }

    idle_timer& timer_;
    bool timed_out_ = false;
    bool too_late_ = false;
    stop_source stop_;
    const environment* outer_ = nullptr;
    union {
        environment env_;  // made when the outer one is known
    };
    A inner_;  // goes first
};

}  // namespace detail
}  // namespace sluice
