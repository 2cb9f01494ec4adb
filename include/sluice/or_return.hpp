// SPDX-License-Identifier: Apache-2.0
//! Awaits whose error is not looked at where it happens: or_throw() and or_return().
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "sluice/awaitable.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"

namespace sluice {
namespace detail {

template <class A>
class [[nodiscard]] throw_awaiter final {
    using outcome = std::remove_cvref_t<await_result_t<A>>;
    static_assert(is_result<outcome>, "or_throw needs an awaitable that gives a result<T>");

public:
    static constexpr bool takes_on_resume = sluice::takes_on_resume<A>;

    explicit throw_awaiter(A inner) : inner_(std::move(inner)) {}
    bool await_ready() const { return inner_.await_ready(); }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        return inner_.await_suspend(h, env);
    }
    typename outcome::value_type await_resume() { return inner_.await_resume().value(); }
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_of(inner_); }

private:
    A inner_;
};

//! The await itself. When the result is there at once it costs what any await does. Otherwise a
//! coroutine of its own (a pooled frame) waits for it: once resumed, the task could not be ended
//! any more.
template <class A>
class [[nodiscard]] return_adaptor final {
    using outcome = std::remove_cvref_t<await_result_t<A>>;
    static_assert(is_result<outcome>, "or_return needs an awaitable that gives a result<T>");

public:
    return_adaptor(A& inner, promise_base& promise) noexcept : inner_(inner), promise_(promise) {}
    return_adaptor(const return_adaptor&) = delete;
    return_adaptor& operator=(const return_adaptor&) = delete;
    ~return_adaptor() {
        if (step_) step_.destroy();
    }

    bool await_ready() {
        if (env().stop.stop_requested() || !inner_.await_ready()) return false;
        outcome_.emplace(inner_.await_resume());
        return outcome_->has_value() && env().home.queue().spend();
    }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        static_assert(
            requires { h.promise().end_with(boost::system::error_code{}); },
            "or_return ends the task that awaits it: that task must return a result<T>");
        waits_ = h;
        end_ = [](std::coroutine_handle<> c, const boost::system::error_code& error) {
            std::coroutine_handle<Promise>::from_address(c.address()).promise().end_with(error);
        };
        if (!outcome_) {
            step_ = receive(*this);
            starting_ = true;
            step_.resume();
            starting_ = false;
            if (!outcome_ && !exception_) {
                promise_.suspended(awaited_ref::child(promise_of(step_.address())));
                return true;
            }
            if (!failed() && env().home.queue().spend()) return false;
        }
        if (failed()) {
            end_(waits_, outcome_->error());
        } else {
            promise_.take_turn();
        }
        return true;
    }

    typename outcome::value_type await_resume() {
        promise_.resumed();
        if (exception_) std::rethrow_exception(exception_);
        return std::move(*outcome_).value();
    }

private:
    class step : public std::coroutine_handle<> {
    public:
        class promise_type;
    };
    static step receive(return_adaptor& self) {
        auto got = co_await std::move(self.inner_);
        self.outcome_.emplace(std::move(got));
    }

    [[nodiscard]] const environment& env() const noexcept { return promise_.env(); }
    [[nodiscard]] bool failed() const noexcept { return outcome_ && outcome_->has_error(); }
    void step_ended() noexcept {
        if (starting_) return;
        if (failed())
            end_(waits_, outcome_->error());
        else
            env().home.queue().continue_with(waits_);
    }

    A& inner_;
    promise_base& promise_;
    std::optional<outcome> outcome_;
    std::exception_ptr exception_;
    std::coroutine_handle<> step_;
    std::coroutine_handle<> waits_;
    void (*end_)(std::coroutine_handle<>, const boost::system::error_code&) = nullptr;
    bool starting_ = false;
};

template <class A>
class return_adaptor<A>::step::promise_type final : public promise_base {
public:
    explicit promise_type(return_adaptor& whole) noexcept : whole_(whole) { env_ = &whole.env(); }
    step get_return_object() noexcept {
        return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> h) const noexcept {
            h.promise().whole_.step_ended();
        }
        void await_resume() const noexcept {}
    };
    final_awaiter final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { whole_.exception_ = std::current_exception(); }

private:
    return_adaptor& whole_;
};

template <class A>
class [[nodiscard]] return_awaitable final {
public:
    explicit return_awaitable(A inner) : inner_(std::move(inner)) {}
    auto adapt(promise_base& promise) noexcept { return return_adaptor<A>{inner_, promise}; }

private:
    A inner_;
};

}  // namespace detail

//! Gives the value of the result that `a` gives, and throws boost::system::system_error instead of
//! an error: for coroutines in which every error ends the same way.
template <awaitable A>
auto or_throw(A a) {
    return detail::throw_awaiter<A>{std::move(a)};
}

//! Gives the value of the result that `a` gives; an error ends the task that awaits it, which must
//! return a result<T>, as `co_return error` would:
//!
//!     auto header = co_await or_return(reader.recv_exact(4));
//!
//! Its locals are destroyed before the await of the task returns, in the usual order. No exception
//! is involved, so no `catch` of the task sees the error. To be awaited in the task itself: it can
//! stand in no combinator.
template <awaitable A>
auto or_return(A a) {
    return detail::return_awaitable<A>{std::move(a)};
}

}  // namespace sluice
