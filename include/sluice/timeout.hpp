// SPDX-License-Identifier: Apache-2.0
//! Sleeping, and limits on the time that an await may take.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
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

//! A timer that knows what it is to be armed with, and whether it has ended an await.
class time_limit : public timer_node {
protected:
    //! In nanoseconds: from when it is armed, or of the reactor's clock.
    time_limit(std::int64_t time, bool absolute) noexcept
        : timer_node(absolute ? std::max<std::int64_t>(time, 0) : relative(time)) {}
    //! For an awaiter that is moved: it is not armed yet.
    time_limit(const time_limit& o) noexcept : timer_node(o.deadline()) {}
    ~time_limit() = default;

    void arm(reactor& home) noexcept {
        const std::int64_t time = deadline();
        home.timers().insert(*this, time < 0 ? deadline_after(home, std::chrono::nanoseconds{~time})
                                             : time);
    }
    [[nodiscard]] bool is_relative() const noexcept { return deadline() < 0; }

    void set_timed_out() noexcept { set_deadline(timed_out_mark); }
    [[nodiscard]] bool timed_out() const noexcept { return deadline() == timed_out_mark; }

private:
    static constexpr std::int64_t timed_out_mark = INT64_MIN;
    // The complement, until it is armed.
    static std::int64_t relative(std::int64_t time) noexcept {
        return ~std::clamp<std::int64_t>(time, 0, INT64_MAX - 1);
    }
};

//! What an await under a limit in time gives. Made in its place: a result that carries a buffer is
//! not cheap to move.
template <class A>
await_result_t<A> outcome_of(A& inner, bool timed_out) {
    if (!timed_out) return inner.await_resume();
    await_result_t<A> r = inner.await_resume();
    if (r.has_error() && r.error() == cancelled_error()) return error::timeout;
    return r;
}

//! For task dumps: the limit of `timer` on what is awaited inside.
void describe_limit(await_description& into, const timer_node& timer, awaited_ref inside);

class [[nodiscard]] sleep_awaiter final : public waiter, private time_limit {
public:
    static constexpr bool takes_on_resume = true;

    //! A relative or an absolute time, in nanoseconds.
    sleep_awaiter(std::int64_t time, bool absolute) noexcept : time_limit(time, absolute) {}
    sleep_awaiter(sleep_awaiter&&) = default;
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

    bool cancelled_ = false;
};

//! Runs an awaitable under a stop source of its own that a timer fires.
template <class A>
class [[nodiscard]] timeout_awaiter final : private stop_listener, private time_limit {
    using outcome = await_result_t<A>;
    static_assert(is_result<std::remove_cvref_t<outcome>>,
                  "with_timeout needs an awaitable that gives a result<T>");

public:
    static constexpr bool takes_on_resume = sluice::takes_on_resume<A>;

    //! `make()` returns the awaitable.
    template <class Make>
    timeout_awaiter(std::int64_t time, bool absolute, Make&& make)
        : time_limit(time, absolute), inner_(make()) {}
    timeout_awaiter(timeout_awaiter&& o) noexcept(std::is_nothrow_move_constructible_v<A>)
        : stop_listener(), time_limit(o), inner_(std::move(o.inner_)) {}
    ~timeout_awaiter() {
        if (outer_ != nullptr) end();
    }

    bool await_ready() const noexcept { return inner_.await_ready(); }

    bool await_suspend(std::coroutine_handle<> h, const environment& outer) {
        outer_ = &outer;
        if (outer.stop.stop_requested()) stop_.request_stop();
        new (&env_) environment{outer.home, stop_};
        outer.stop.listen(*this);
        arm(outer.home);
        return inner_.await_suspend(h, env_);
    }

    outcome await_resume() {
        if (outer_ != nullptr) end();
        return outcome_of(inner_, timed_out());
    }

private:
    void end() noexcept {
        outer_->stop.forget(*this);
        outer_->home.timers().cancel(*this);
        outer_ = nullptr;
    }
    void on_timer() noexcept override {
        if (stop_.stop_requested()) return;
        set_timed_out();
        stop_.request_stop();
    }
    void on_stop() noexcept override { stop_.request_stop(); }
    void describe(await_description& into) const override {
        describe_limit(into, *this, awaited_of(inner_));
    }

    A inner_;
    stop_source stop_;
    const environment* outer_ = nullptr;
    union {
        environment env_;  // made when the outer one is known
    };
};

//! The same for an awaiter that is suspended in one place, and told to stop there: it needs no stop
//! source of its own.
template <std::derived_from<waiter> A>
class [[nodiscard]] timeout_awaiter<A> final : private stop_listener, private time_limit {
    using outcome = await_result_t<A>;
    static_assert(is_result<std::remove_cvref_t<outcome>>,
                  "with_timeout needs an awaitable that gives a result<T>");

public:
    static constexpr bool takes_on_resume = sluice::takes_on_resume<A>;

    template <class Make>
    timeout_awaiter(std::int64_t time, bool absolute, Make&& make)
        : time_limit(time, absolute), inner_(make()) {}
    timeout_awaiter(timeout_awaiter&& o) noexcept(std::is_nothrow_move_constructible_v<A>)
        : stop_listener(), time_limit(o), inner_(std::move(o.inner_)) {}
    ~timeout_awaiter() { end(); }

    bool await_ready() const noexcept { return inner_.await_ready(); }

    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        if (!inner_.await_suspend(h, env)) return false;
        if (inner_.waiting()) arm(env.home);
        return true;
    }

    outcome await_resume() {
        end();
        return outcome_of(inner_, timed_out());
    }

    //! For await records.
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_ref::place(*this); }

private:
    void end() noexcept {
        if (armed()) inner_.env().home.timers().cancel(*this);
    }
    void on_timer() noexcept override {
        if (inner_.stop_alone()) set_timed_out();
    }
    void on_stop() noexcept override {}  // `inner_` listens
    void describe(await_description& into) const override {
        describe_limit(into, *this, awaited_of(inner_));
    }

    A inner_;
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
auto with_timeout(const std::chrono::nanoseconds& d, A inner) {
    const auto make = [&]() -> A { return std::move(inner); };
    return detail::timeout_awaiter<A>{d.count(), false, make};
}

//! The same with a point in time of the reactor's clock.
template <awaitable A>
auto with_deadline(reactor::clock::time_point t, A inner) {
    const auto make = [&]() -> A { return std::move(inner); };
    return detail::timeout_awaiter<A>{detail::nanoseconds_of(t), true, make};
}

//! The same for what `make()` returns, which is made where it stays instead of being moved there:
//! a coroutine's frame, in which g++ keeps a place for both, gets smaller by an awaitable.
template <class Make>
    requires awaitable<std::invoke_result_t<Make&>>
auto with_timeout(const std::chrono::nanoseconds& d, Make make) {
    return detail::timeout_awaiter<std::invoke_result_t<Make&>>{d.count(), false, make};
}
template <class Make>
    requires awaitable<std::invoke_result_t<Make&>>
auto with_deadline(reactor::clock::time_point t, Make make) {
    using awaited = std::invoke_result_t<Make&>;
    return detail::timeout_awaiter<awaited>{detail::nanoseconds_of(t), true, make};
}

}  // namespace sluice
