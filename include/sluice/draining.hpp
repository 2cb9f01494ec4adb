// SPDX-License-Identifier: Apache-2.0
//! How a coroutine learns that its service has begun to stop.
#pragma once

#include <coroutine>
#include <utility>

#include "sluice/awaitable.hpp"
#include "sluice/drain.hpp"
#include "sluice/result.hpp"
#include "sluice/this_coro.hpp"

namespace sluice {

//! Whether the reactor drains: it takes no new work, and what is in flight may come to its end.
//! Valid as long as the reactor.
class drain_token {
public:
    explicit drain_token(const reactor& home) noexcept : home_(&home) {}
    [[nodiscard]] bool requested() const noexcept { return home_->draining(); }

private:
    const reactor* home_;
};

namespace detail {

struct get_drain_token {
    drain_token operator()(const environment& env) const noexcept { return drain_token{env.home}; }
};

class [[nodiscard]] drain_awaiter final : public waiter, private drain_listener {
public:
    static constexpr bool takes_on_resume = true;

    drain_awaiter() = default;
    drain_awaiter(drain_awaiter&& o) noexcept : waiter(std::move(o)), drain_listener() {}

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        cancelled_ = env.stop.stop_requested();
        if (cancelled_) {
            yield(h, env);
            return true;
        }
        if (env.home.draining()) return false;
        env.home.drain_listeners().add(*this);
        wait(h, env);
        return true;
    }
    result<void> await_resume() const noexcept {
        if (cancelled_) return cancelled_error();
        return {};
    }

private:
    void on_drain() noexcept override { wake(); }
    void on_stop() noexcept override {
        unlink();
        cancelled_ = true;
        wake();
    }

    bool cancelled_ = false;
};

}  // namespace detail

namespace this_coro {

//! Gives a drain_token, at once: for loops that look between two pieces of work.
inline auto draining() noexcept { return detail::from_environment<detail::get_drain_token>{}; }

}  // namespace this_coro

//! Completes when the coroutine's reactor begins to drain, at once when it has. Cancelled:
//! ECANCELED. A task that waits here is work in flight: reactor::run_until_idle() and
//! service::run() wait for it.
inline auto until_draining() noexcept { return detail::drain_awaiter{}; }

}  // namespace sluice
