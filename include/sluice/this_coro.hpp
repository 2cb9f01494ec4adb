// SPDX-License-Identifier: Apache-2.0
//! What a coroutine can ask about itself: `co_await this_coro::reactor()`.
#pragma once

#include <coroutine>

#include "sluice/awaitable.hpp"

namespace sluice {
namespace detail {

//! Gives something of the environment, at once.
template <class Get>
class [[nodiscard]] from_environment {
public:
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>, const environment& env) noexcept {
        env_ = &env;
        return false;
    }
    decltype(auto) await_resume() const noexcept { return Get{}(*env_); }

private:
    const environment* env_ = nullptr;
};

struct get_reactor {
    sluice::reactor& operator()(const environment& env) const noexcept { return env.home; }
};
struct get_stop_token {
    sluice::stop_token operator()(const environment& env) const noexcept {
        return sluice::stop_token{env.stop};
    }
};

//! Passes through the ready list once.
class [[nodiscard]] yield_awaiter final : public waiter {
public:
    static constexpr bool takes_on_resume = true;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        yield(h, env);
        return true;
    }
    void await_resume() const noexcept {}
    void on_stop() noexcept override {}
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_ref::turn(); }
};

}  // namespace detail

namespace this_coro {

//! The reactor that the coroutine runs on.
inline auto reactor() noexcept { return detail::from_environment<detail::get_reactor>{}; }

//! Whether the coroutine's chain of awaits has been asked to stop.
inline auto stop_token() noexcept { return detail::from_environment<detail::get_stop_token>{}; }

}  // namespace this_coro

//! Lets everything else that is ready run first.
inline auto yield() noexcept { return detail::yield_awaiter{}; }

}  // namespace sluice
