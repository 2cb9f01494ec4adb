// SPDX-License-Identifier: Apache-2.0
//! Calling what blocks without blocking a reactor.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

#include "sluice/awaitable.hpp"
#include "sluice/on.hpp"
#include "sluice/reactor.hpp"
#include "sluice/result.hpp"

namespace sluice {
namespace detail {

class blocking_line;
class helper_pool;

//! A call on its way to a helper thread, part of the awaiter.
class blocking_job : public waiter, private delivery {
public:
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env);
    void on_stop() noexcept override;
    void describe(await_description& into) const override;

protected:
    blocking_job() noexcept = default;
    blocking_job(blocking_job&& o) noexcept : waiter(std::move(o)), delivery() {}
    ~blocking_job() {
        if (state_ == state::in_line) leave_line();
    }

    //! On the helper's thread.
    virtual void call() noexcept = 0;

    [[nodiscard]] const boost::system::error_code& failure() const noexcept { return failure_; }

private:
    friend class blocking_line;
    friend class helper_pool;
    enum class state : std::uint8_t { home, in_line, in_pool };

    void arrived() noexcept override;
    void leave_line() noexcept;

    blocking_job* previous_ = nullptr;  // in the reactor's line, then in the pool's
    blocking_job* next_ = nullptr;
    blocking_line* line_ = nullptr;
    reactor* home_ = nullptr;
    state state_ = state::home;
    bool begun_ = false;  // the pool's, under its lock
    boost::system::error_code failure_;
};

template <class F>
class [[nodiscard]] blocking_awaiter final : public blocking_job {
    using slot = outcome_slot<std::invoke_result_t<F&>>;

public:
    template <class G>
    blocking_awaiter(std::in_place_t, G&& fn) : fn_(std::forward<G>(fn)) {}
    blocking_awaiter(blocking_awaiter&&) = default;

    typename slot::outcome await_resume() { return slot_.take(failure()); }

private:
    void call() noexcept override {
        slot_.fill([this]() -> decltype(auto) { return std::invoke(fn_); });
    }

    F fn_;
    slot slot_;
};

}  // namespace detail

//! Runs `fn()` on a helper thread and gives its outcome here: result<T> when it gives T, and the
//! same when that is a result<T> already. What it throws, the await throws. It must not touch what
//! belongs to the reactor; what it refers to stays valid, because the caller waits.
//!
//! The reactors of a service share reactor_options::blocking_threads threads, which are started
//! when they are first needed and joined when the service has ended. At most
//! reactor_options::blocking_queue calls of a reactor wait for a thread; further ones wait on the
//! reactor. First come, first served.
//!
//! Cancelled before it has begun: ECANCELED, and `fn` does not run. Cancelled later it goes on, and
//! the await waits for its end, as the end of the reactor does: a function that blocks for ever
//! keeps the service from ending. Error: EAGAIN, when not a single thread could be started.
template <class F>
auto blocking(F&& fn) {
    return detail::blocking_awaiter<std::decay_t<F>>{std::in_place, std::forward<F>(fn)};
}

}  // namespace sluice
