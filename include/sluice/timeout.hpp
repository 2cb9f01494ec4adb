// SPDX-License-Identifier: Apache-2.0
//! Sleeping, and limits on the time that an await may take.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "sluice/awaitable.hpp"
#include "sluice/result.hpp"

namespace sluice {
namespace detail {

inline std::int64_t nanoseconds_of(reactor::clock::time_point t) noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}

//! `d` from now as a deadline; durations that do not fit wait for ever.
inline std::int64_t deadline_after(const reactor& home, std::chrono::nanoseconds d) noexcept {
    const std::int64_t now = nanoseconds_of(home.now());
    if (d.count() > timer_set::never - now) return timer_set::never;
    return now + (d.count() > 0 ? d.count() : 0);
}

//! For task dumps: the limit of `timer` on what is awaited inside.
void describe_limit(await_description& into, const timer_node& timer, awaited_ref inside);

class [[nodiscard]] sleep_awaiter final : public waiter, private timer_node {
public:
    static constexpr bool takes_on_resume = true;

    //! A relative or an absolute time, in nanoseconds.
    sleep_awaiter(std::int64_t time, bool absolute) noexcept : time_(time), absolute_(absolute) {}
    sleep_awaiter(sleep_awaiter&& o) noexcept
        : waiter(std::move(o)), timer_node(), time_(o.time_), absolute_(o.absolute_) {}
    ~sleep_awaiter() {
        if (armed()) env().home.timers().cancel(*this);
    }

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept;
    result<void> await_resume() const noexcept {
        if (cancelled_) return cancelled_error();
        return {};
    }

private:
    void on_timer() noexcept override { wake(); }
    void on_stop() noexcept override;
    void describe(await_description& into) const override;

    std::int64_t time_;
    bool absolute_;
    bool cancelled_ = false;
};

//! Runs an awaitable under a stop source of its own that a timer fires.
template <class A>
class [[nodiscard]] timeout_awaiter final : private stop_listener, private timer_node {
    using outcome = await_result_t<A>;
    static_assert(is_result<std::remove_cvref_t<outcome>>,
                  "with_timeout needs an awaitable that gives a result<T>");

public:
    static constexpr bool takes_on_resume = sluice::takes_on_resume<A>;

    timeout_awaiter(std::int64_t time, bool absolute,
                    A&& inner) noexcept(std::is_nothrow_move_constructible_v<A>)
        : inner_(std::move(inner)), time_(time), absolute_(absolute) {}
    timeout_awaiter(timeout_awaiter&& o) noexcept(std::is_nothrow_move_constructible_v<A>)
        : stop_listener(),
          timer_node(),
          inner_(std::move(o.inner_)),
          time_(o.time_),
          absolute_(o.absolute_) {}
    ~timeout_awaiter() {
        if (outer_ != nullptr) end();
    }

    bool await_ready() const noexcept { return inner_.await_ready(); }

    bool await_suspend(std::coroutine_handle<> h, const environment& outer) {
        outer_ = &outer;
        if (outer.stop.stop_requested()) stop_.request_stop();
        new (&env_) environment{outer.home, stop_};
        outer.stop.listen(*this);
        outer.home.timers().insert(*this,
                                   absolute_ ? time_ : deadline_after(outer.home, nanos{time_}));
        return inner_.await_suspend(h, env_);
    }

    outcome await_resume() {
        if (outer_ != nullptr) end();
        outcome r = inner_.await_resume();
        if (timed_out_ && r.has_error() && r.error() == cancelled_error()) return error::timeout;
        return r;
    }

private:
    using nanos = std::chrono::nanoseconds;

    void end() noexcept {
        outer_->stop.forget(*this);
        outer_->home.timers().cancel(*this);
        outer_ = nullptr;
    }
    void on_timer() noexcept override {
        timed_out_ = !stop_.stop_requested();
        stop_.request_stop();
    }
    void on_stop() noexcept override { stop_.request_stop(); }
    void describe(await_description& into) const override {
        describe_limit(into, *this, awaited_of(inner_));
    }

    A inner_;
    std::int64_t time_;
    bool absolute_;
    bool timed_out_ = false;
    stop_source stop_;
    const environment* outer_ = nullptr;
    union {
        environment env_;  // made when the outer one is known
    };
};

}  // namespace detail

//! Ends after `d`. Cancelled: ECANCELED, at once. `d` <= 0 ends at the next turn of the loop.
inline auto sleep_for(std::chrono::nanoseconds d) noexcept {
    return detail::sleep_awaiter{d.count(), false};
}

//! Ends at `t` of the reactor's clock (reactor::now()).
inline auto sleep_until(reactor::clock::time_point t) noexcept {
    return detail::sleep_awaiter{detail::nanoseconds_of(t), true};
}

//! Awaits `inner`, which gives a result<T>, and cancels it when `d` has passed: then, and if
//! nothing else came of it, the result is error::timeout. A result that was there first wins.
//! `inner` has ended when this returns, whatever it needs for that. The time counts from the
//! beginning of the reactor's turn (reactor::now()). Costs no SQE and no allocation.
template <awaitable A>
auto with_timeout(std::chrono::nanoseconds d, A inner) {
    return detail::timeout_awaiter<A>{d.count(), false, std::move(inner)};
}

//! The same with a point in time of the reactor's clock.
template <awaitable A>
auto with_deadline(reactor::clock::time_point t, A inner) {
    return detail::timeout_awaiter<A>{detail::nanoseconds_of(t), true, std::move(inner)};
}

}  // namespace sluice
