// SPDX-License-Identifier: Apache-2.0
//! Running something on another reactor of the service and getting its outcome here.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "sluice/mesh_call.hpp"
#include "sluice/nursery.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"

namespace sluice {
namespace detail {

//! What a function gives in the end, whether it has to be awaited or not.
template <class R>
struct final_value {
    using type = R;
};
template <awaitable R>
struct final_value<R> {
    using type = await_result_t<R>;
};

//! A value as a result; a result as it is.
template <class V>
using as_result = std::conditional_t<is_result<std::remove_cv_t<V>>, V, result<V>>;

//! Keeps what a function returned or threw.
template <class V>
class outcome_slot {
    static_assert(!std::is_reference_v<V>,
                  "a reference would point into another reactor: return a value");

public:
    using outcome = as_result<V>;

    template <class Get>
    void fill(Get&& get) noexcept {
        try {
            if constexpr (std::is_void_v<V>) {
                get();
                value_.emplace();
            } else if constexpr (is_result<std::remove_cv_t<V>>) {
                value_.emplace(get());
            } else {
                value_.emplace(boost::system::in_place_value, get());
            }
        } catch (...) {
            exception_ = std::current_exception();
        }
    }
    void threw(std::exception_ptr e) noexcept { exception_ = std::move(e); }

    //! What fill() kept; `failure` when it was not called.
    outcome take(const boost::system::error_code& failure) {
        if (exception_) std::rethrow_exception(std::move(exception_));
        if (!value_) return outcome{boost::system::in_place_error, failure};
        return std::move(*value_);
    }

private:
    std::optional<outcome> value_;
    std::exception_ptr exception_;
};

//! An awaitable that is made, awaited and destroyed in one place by someone else's await.
template <class A>
class nested_await {
public:
    //! Makes it by calling `make` and starts it. False: it has ended, or did not begin because
    //! `make` threw what `slot` keeps now.
    template <class Make, class Slot>
    bool start(Make&& make, Slot& slot, std::coroutine_handle<> h, const environment& env) {
        try {
            inner_.emplace(elided<Make>{make});
            if (!env.stop.stop_requested() && inner_->await_ready()) return false;
            return inner_->await_suspend(h, env);
        } catch (...) {
            slot.threw(std::current_exception());
            inner_.reset();
            return false;
        }
    }
    [[nodiscard]] awaited_ref awaited() const noexcept {
        return inner_ ? awaited_of(*inner_) : awaited_ref::other();
    }
    [[nodiscard]] bool started() const noexcept { return inner_.has_value(); }
    template <class Slot>
    void collect(Slot& slot) noexcept {
        if (!inner_) return;
        slot.fill([&]() -> decltype(auto) { return inner_->await_resume(); });
        inner_.reset();
    }

private:
    template <class Make>
    struct elided {
        Make& make;
        operator A() { return make(); }
    };
    std::optional<A> inner_;
};
template <class A>
    requires(!awaitable<A>)
class nested_await<A> {};

template <class F, class... Args>
class [[nodiscard]] on_awaiter final : public mesh_call {
    using returned = std::invoke_result_t<F&, Args...>;
    using value = typename final_value<returned>::type;
    using slot = outcome_slot<value>;
    static constexpr bool waits = awaitable<returned>;

public:
    template <class G, class... As>
    on_awaiter(unsigned target, std::in_place_t, G&& fn, As&&... args)
        : target_(target), fn_(std::forward<G>(fn)), args_(std::forward<As>(args)...) {}
    on_awaiter(on_awaiter&& o)
        : mesh_call(std::move(o)),
          target_(o.target_),
          fn_(std::move(o.fn_)),
          args_(std::move(o.args_)) {}

    bool await_ready() const noexcept { return false; }

    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        if (env.stop.stop_requested()) {
            fail(cancelled_error());
            yield(h, env);
            return true;
        }
        if (target_ != env.home.index()) return send(target_, h, env);
        if constexpr (waits) {
            return here_.start([this] { return call(); }, slot_, h, env);
        } else {
            slot_.fill([this]() -> decltype(auto) { return call(); });
            return false;
        }
    }

    [[nodiscard]] awaited_ref awaited() const noexcept {
        if constexpr (waits)
            if (here_.started()) return here_.awaited();
        return awaited_ref::place(*this);
    }

    typename slot::outcome await_resume() {
        if constexpr (waits) here_.collect(slot_);
        return slot_.take(failure());
    }

private:
    class work final : public remote_work {
    public:
        explicit work(on_awaiter& c)
            : remote_work(c), slot_(c.slot_), fn_(std::move(c.fn_)), args_(std::move(c.args_)) {}
        [[nodiscard]] awaited_ref awaited() const noexcept override { return inner_.awaited(); }

    private:
        bool start(std::coroutine_handle<> h, const environment& env) noexcept override {
            return inner_.start([this] { return std::apply(fn_, std::move(args_)); }, slot_, h,
                                env);
        }
        void collect() noexcept override { inner_.collect(slot_); }

        slot& slot_;  // the caller's
        F fn_;
        std::tuple<Args...> args_;
        nested_await<returned> inner_;
    };

    decltype(auto) call() { return std::apply(fn_, std::move(args_)); }

    void begin(reactor& there) noexcept override {
        if constexpr (waits) {
            try {
                remote_work::spawn(there, std::make_unique<work>(*this));
            } catch (...) {
                slot_.threw(std::current_exception());
                finished();
            }
        } else {
            slot_.fill([this]() -> decltype(auto) { return call(); });
            finished();
        }
    }

    unsigned target_;
    F fn_;
    std::tuple<Args...> args_;
    slot slot_;
    nested_await<returned> here_;
};

}  // namespace detail

//! Runs `fn(args...)` on the reactor of that index in the same service, and gives its outcome here:
//! result<T> when `fn` gives T or something that is awaited for T, and the same when that is a
//! result<T> already. What `fn` throws, the await throws. On the own reactor it runs at once.
//!
//! Callable and arguments are moved to the target, and the memory that `fn` takes there is the
//! target's. References among them stay valid, because the caller waits; but what they refer to
//! belongs to another thread, which goes on meanwhile. A plain function that does not wait runs
//! between two turns of the target, without a coroutine.
//!
//! When reactor_options::call_queue calls to a target wait there already, it waits its turn, first
//! come first served. Calls from one reactor to another begin in order.
//!
//! Cancelled before it was sent, or before the target has begun: ECANCELED, and `fn` does not run.
//! Cancelled later: `fn` is cancelled, and what it gives is the outcome; the await ends when it has
//! ended. The target's own stop does not cancel it, the caller's does. Error: error::draining when
//! the target has ended, which it does not while anyone of the service has work.
//!
//! Throws std::out_of_range for an index that there is not, std::logic_error on a reactor that
//! belongs to no service.
template <class F, class... Args>
auto on(unsigned index, F&& fn, Args&&... args) {
    return detail::on_awaiter<std::decay_t<F>, std::decay_t<Args>...>{
        index, std::in_place, std::forward<F>(fn), std::forward<Args>(args)...};
}

//! The same; `there` is only asked for its index.
template <class F, class... Args>
auto on(const reactor& there, F&& fn, Args&&... args) {
    return on(there.index(), std::forward<F>(fn), std::forward<Args>(args)...);
}

}  // namespace sluice
