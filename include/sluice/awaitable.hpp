// SPDX-License-Identifier: Apache-2.0
//! What sluice's coroutines can await, and the base of everything that waits.
//!
//! An awaitable has the three functions of the language, with one difference: await_suspend()
//! takes the environment of the awaiting chain as well,
//!
//!     bool await_ready() const noexcept;      // may be asked more than once
//!     bool await_suspend(std::coroutine_handle<>, const environment&);  // false: go on at once
//!     T await_resume();                       // takes the result, and not earlier
//!
//! It may be moved until it is awaited, and is awaited once.
#pragma once

#include <concepts>
#include <coroutine>
#include <utility>

#include "sluice/await_record.hpp"
#include "sluice/environment.hpp"
#include "sluice/reactor.hpp"

namespace sluice {

template <class A>
concept awaitable = requires(A& a, std::coroutine_handle<> h, const environment& env) {
    { a.await_ready() } -> std::convertible_to<bool>;
    { a.await_suspend(h, env) } -> std::convertible_to<bool>;
    a.await_resume();
};

//! What `co_await` of an A gives.
template <class A>
using await_result_t = decltype(std::declval<A&>().await_resume());

//! Whether an A that was woken, and is destroyed without being asked for its result, has taken and
//! done nothing. when_any() may drop it then; others are always asked. An awaiter says it with a
//! constant of that name.
template <class A>
inline constexpr bool takes_on_resume = requires { requires A::takes_on_resume; };

namespace detail {

//! Base of every awaiter that can be suspended: who waits, and its ear for the stop. Movable only
//! until it waits.
class waiter : public stop_listener {
public:
    //! Whether a coroutine is suspended in it and nothing has woken it yet.
    [[nodiscard]] bool waiting() const noexcept { return waiting_; }

    //! The environment of the coroutine that waits, or waited last.
    [[nodiscard]] const environment& env() const noexcept { return *env_; }

    //! Puts the coroutine on the ready list.
    void wake() noexcept {
        waiting_ = false;
        env_->stop.forget(*this);
        env_->home.queue().make_ready(*node_);
    }

    //! Tells this await to stop, and not the chain that it is part of. False when it needs no
    //! telling: it has been woken, or the chain was told before.
    bool stop_alone() noexcept {
        if (!waiting_ || env_->stop.stop_requested()) return false;
        env_->stop.forget(*this);
        on_stop();
        return true;
    }

    //! Resumes the coroutine when the one that runs returns to the queue, which it must be about to
    //! do: see run_queue::continue_with().
    void wake_next() noexcept {
        waiting_ = false;
        env_->stop.forget(*this);
        env_->home.queue().continue_with(node_->handle());
    }

protected:
    waiter() = default;
    waiter(waiter&&) noexcept {}
    waiter& operator=(waiter&&) = delete;
    ~waiter() {
        if (waiting_) destroyed_while_suspended();
    }

    //! The coroutine `h` waits here from now on, until wake().
    void wait(std::coroutine_handle<> h, const environment& env) noexcept {
        node_ = &ready_node::of(h);
        env_ = &env;
        waiting_ = true;
        env.stop.listen(*this);
    }

    //! Straight through the ready list: for awaits of a chain that has been cancelled.
    void yield(std::coroutine_handle<> h, const environment& env) noexcept {
        env_ = &env;
        env.home.queue().make_ready(ready_node::of(h));
    }

private:
    void destroyed_while_suspended() noexcept;

    ready_node* node_ = nullptr;  // of the coroutine that waits
    const environment* env_ = nullptr;
    bool waiting_ = false;
};

}  // namespace detail
}  // namespace sluice
