// SPDX-License-Identifier: Apache-2.0
//! task<T>: a coroutine that runs when it is awaited.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include "sluice/promise.hpp"
#include "sluice/result.hpp"

namespace sluice {

template <class T>
class task;

namespace detail {

template <class T>
inline constexpr bool is_task<task<T>> = true;

//! The task's end of the hand-over between a child and the coroutine that awaits it.
//!
//! A child is started by a call from await_suspend(). If it ends before that call returns, a flag
//! tells the parent to go on without suspending; otherwise the run queue resumes the parent once
//! the child has returned to it. So neither a loop of awaits nor a chain of returns uses stack,
//! whether or not the compiler makes tail calls.
class task_promise_base : public promise_base {
public:
    std::suspend_always initial_suspend() const noexcept { return {}; }

    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        template <class P>
        void await_suspend(std::coroutine_handle<P> h) const noexcept {
            h.promise().hand_over();
        }
        void await_resume() const noexcept {}
    };
    final_awaiter final_suspend() const noexcept { return {}; }

    //! Runs the child from its beginning. True: it is suspended; false: it has ended.
    bool start(std::coroutine_handle<> self, std::coroutine_handle<> parent,
               const environment& env) {
        env_ = &env;
        parent_ = parent;
        starting_ = true;
        self.resume();
        starting_ = false;
        return !ended_;
    }

    [[nodiscard]] std::coroutine_handle<> parent() const noexcept { return parent_; }

protected:
    void hand_over() noexcept {
        ended_ = true;
        if (!starting_) env_->home.queue().continue_with(parent_);
    }

private:
    std::coroutine_handle<> parent_;
    bool starting_ = false;
    bool ended_ = false;
};

template <class T>
class task_promise final : public task_promise_base {
public:
    task_promise() noexcept {
        static_assert(alignof(T) <= 2 * sizeof(void*), "frames are aligned to 16 bytes");
    }
    ~task_promise() {
        if (state_ == state::value) std::destroy_at(std::addressof(value_));
        if (state_ == state::exception) std::destroy_at(std::addressof(exception_));
    }

    task<T> get_return_object() noexcept;

    template <class U = T>
        requires std::constructible_from<T, U&&>
    void return_value(U&& u) {
        std::construct_at(std::addressof(value_), std::forward<U>(u));
        state_ = state::value;
    }
    void unhandled_exception() noexcept {
        std::construct_at(std::addressof(exception_), std::current_exception());
        state_ = state::exception;
    }

    //! Ends the task in the await in which it is suspended, as `co_return error` would. Its locals
    //! are destroyed when the result is taken.
    void end_with(const boost::system::error_code& error)
        requires is_result<T>
    {
        return_value(error);
        hand_over();
    }

    T take() {
        if (state_ == state::exception) std::rethrow_exception(std::move(exception_));
        return std::move(value_);
    }

private:
    enum class state : unsigned char { empty, value, exception };
    state state_ = state::empty;
    union {
        T value_;
        std::exception_ptr exception_;
    };
};

template <>
class task_promise<void> final : public task_promise_base {
public:
    task<void> get_return_object() noexcept;
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { exception_ = std::current_exception(); }
    void take() {
        if (exception_) std::rethrow_exception(std::move(exception_));
    }

private:
    std::exception_ptr exception_;
};

}  // namespace detail

//! A lazy coroutine: nothing of it runs before it is awaited, and it has ended when the await
//! returns. Move-only, awaited once, as an rvalue. What it throws is thrown by the await. It can be
//! moved and destroyed on any thread before it is awaited.
template <class T = void>
class [[nodiscard("a task runs only when it is awaited")]] task {
public:
    using promise_type = detail::task_promise<T>;

    task() = default;
    explicit task(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
    task(task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    task& operator=(task&& other) noexcept {
        if (this != &other) {
            if (handle_) handle_.destroy();
            handle_ = std::exchange(other.handle_, {});
        }
        return *this;
    }
    ~task() {
        if (handle_) handle_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> parent, const environment& env) {
        return handle_.promise().start(handle_, parent, env);
    }
    //! The frame goes before the await returns, and with it whatever it still holds.
    T await_resume() {
        const task ended{std::exchange(handle_, {})};
        return ended.handle_.promise().take();
    }

    //! For await records.
    [[nodiscard]] detail::awaited_ref awaited() const noexcept {
        return detail::awaited_ref::child(handle_.promise());
    }

private:
    std::coroutine_handle<promise_type> handle_;
};

namespace detail {
template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
    return task<T>{std::coroutine_handle<task_promise>::from_promise(*this)};
}
inline task<void> task_promise<void>::get_return_object() noexcept {
    return task<void>{std::coroutine_handle<task_promise>::from_promise(*this)};
}
}  // namespace detail

}  // namespace sluice
