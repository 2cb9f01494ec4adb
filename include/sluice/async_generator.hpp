// SPDX-License-Identifier: Apache-2.0
//! async_generator<T>: a coroutine that gives values one after the other and may await in between.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "sluice/task.hpp"

namespace sluice {

template <class T>
class async_generator;

namespace detail {

//! The hand-over between a generator and its consumer: a generator is a child that is started
//! again for each value, see task_promise_base.
template <class T>
class generator_promise final : public promise_base {
public:
    async_generator<T> get_return_object() noexcept;
    std::suspend_always initial_suspend() const noexcept { return {}; }

    struct hand_over {
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<generator_promise> h) const noexcept {
            h.promise().pause();
        }
        void await_resume() const noexcept {}
    };
    hand_over final_suspend() noexcept {
        ended_ = true;
        return {};
    }

    template <class U = T>
        requires std::constructible_from<T, U&&>
    hand_over yield_value(U&& value) {
        value_.emplace(std::forward<U>(value));
        return {};
    }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { exception_ = std::current_exception(); }

    //! Runs the body up to its next value or its end. True: it is suspended in an await of its own.
    bool run(std::coroutine_handle<> consumer, const environment& env) {
        env_ = &env;
        consumer_ = consumer;
        running_ = true;
        paused_ = false;
        std::coroutine_handle<generator_promise>::from_promise(*this).resume();
        running_ = false;
        return !paused_;
    }

    std::optional<T> take() {
        if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
        return std::exchange(value_, std::nullopt);
    }

    [[nodiscard]] bool ended() const noexcept { return ended_; }
    [[nodiscard]] std::coroutine_handle<> parent() const noexcept { return consumer_; }

private:
    void pause() noexcept {
        paused_ = true;
        if (!running_) env_->home.queue().continue_with(consumer_);
    }

    std::coroutine_handle<> consumer_;
    std::optional<T> value_;
    std::exception_ptr exception_;
    bool running_ = false;
    bool paused_ = false;
    bool ended_ = false;
};

}  // namespace detail

//! A sequence: `while (auto v = co_await sequence.next()) use(*v);`. The body runs only while a
//! next() is awaited, with the environment of the one that awaits, so a stop of the consumer
//! reaches what the body awaits. Destroying a generator that has not ended destroys the body where
//! it stands at its co_yield, with destructors; while a next() waits it ends the program.
//! Move-only.
template <class T>
class [[nodiscard("a generator runs only when next() is awaited")]] async_generator {
public:
    using promise_type = detail::generator_promise<T>;
    class next_awaiter;

    async_generator() = default;
    explicit async_generator(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
    async_generator(async_generator&& o) noexcept : handle_(std::exchange(o.handle_, {})) {}
    async_generator& operator=(async_generator&& o) noexcept {
        if (this != &o) {
            if (handle_) handle_.destroy();
            handle_ = std::exchange(o.handle_, {});
        }
        return *this;
    }
    ~async_generator() {
        if (handle_) handle_.destroy();
    }

    //! Runs the body up to its next co_yield. Gives std::optional<T>, empty when the body has
    //! ended; throws what escapes from the body, once. One at a time. Cancelled: what the body
    //! awaits ends with ECANCELED, and the body decides what comes of it. Does not allocate.
    next_awaiter next() noexcept { return next_awaiter{handle_}; }

private:
    std::coroutine_handle<promise_type> handle_;
};

template <class T>
class [[nodiscard]] async_generator<T>::next_awaiter {
public:
    explicit next_awaiter(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}

    bool await_ready() const noexcept { return !handle_ || handle_.promise().ended(); }
    bool await_suspend(std::coroutine_handle<> consumer, const environment& env) {
        return !await_ready() && handle_.promise().run(consumer, env);
    }
    std::optional<T> await_resume() {
        if (!handle_) return std::nullopt;
        return handle_.promise().take();
    }

private:
    std::coroutine_handle<promise_type> handle_;
};

namespace detail {
template <class T>
async_generator<T> generator_promise<T>::get_return_object() noexcept {
    return async_generator<T>{std::coroutine_handle<generator_promise>::from_promise(*this)};
}
}  // namespace detail

}  // namespace sluice
