// SPDX-License-Identifier: Apache-2.0
//! Fibers: functions with a stack of their own that can wait for anything a coroutine can await.
//!
//! For call stacks that cannot be coroutines: callbacks of C libraries, parsers, generated code.
//!
//!     auto n = co_await fiber::run([&] {
//!         parse(text, [&](std::string_view name) { return fiber::await(look_up(name)); });
//!     });
//!
//! A fiber is driven by a coroutine, so it is a child of a nursery like any other, with the
//! environment and the stop of that coroutine. The fiber's stack holds only what its function
//! calls; coroutines that it awaits run on the reactor's stack, resumed by the run queue. A fiber
//! stays on its reactor's thread.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#include "sluice/fiber_core.hpp"
#include "sluice/nursery.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"
#include "sluice/this_coro.hpp"

namespace sluice {
namespace detail {

struct get_environment {
    const environment& operator()(const environment& env) const noexcept { return env; }
};

//! Where the driver is suspended while its fiber waits: hands the fiber's awaitable on.
class fiber_parking {
public:
    explicit fiber_parking(fiber_core& f) noexcept : fiber_(f) {}
    bool await_ready() const noexcept { return fiber_.pending().ready(); }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        return fiber_.pending().suspend(h, env);
    }
    void await_resume() const noexcept {}
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_ref::place(fiber_); }

private:
    fiber_core& fiber_;
};

template <class A>
class fiber_wait_for final : public fiber_wait {
public:
    fiber_wait_for(A& awaited, std::source_location where) noexcept
        : fiber_wait(where), awaited_(awaited) {}
    [[nodiscard]] awaited_ref awaited() const noexcept override { return awaited_of(awaited_); }
    bool ready() noexcept override { return awaited_.await_ready(); }
    bool suspend(std::coroutine_handle<> h, const environment& env) noexcept override {
        try {
            return awaited_.await_suspend(h, env);
        } catch (...) {
            escaped = std::current_exception();
            return false;
        }
    }

private:
    A& awaited_;
};

template <class R>
struct fiber_value {
    using type = R;
};
template <class T>
struct fiber_value<result<T>> {
    using type = T;
};

//! The T of the result<T> that a function's fiber gives.
template <class F, class... Args>
using fiber_value_t =
    typename fiber_value<std::remove_cvref_t<std::invoke_result_t<F&, Args&&...>>>::type;

//! The coroutine below a fiber: goes into its stack, and waits for what the fiber waits for.
template <class F, class... Args>
task<result<fiber_value_t<F, Args...>>> drive_fiber(fiber_options options, F fn,
                                                    std::tuple<Args...> args) {
    using returned = std::invoke_result_t<F&, Args&&...>;
    using value = fiber_value_t<F, Args...>;
    std::optional<result<value>> out;
    auto body = [&out, &fn, &args] {
        if constexpr (std::is_void_v<returned>) {
            std::apply(fn, std::move(args));
            out.emplace();
        } else {
            out.emplace(std::apply(fn, std::move(args)));
        }
    };
    const environment& env = co_await from_environment<get_environment>{};
    fiber_core fiber{env, options, body};
    if (const auto failed = fiber.open()) co_return error_result<value>(failed);
    while (fiber.resume()) co_await fiber_parking{fiber};
    fiber.rethrow();
    if (!out) co_return error_result<value>(cancelled_error());
    co_return std::move(*out);
}

//! Awaits on the fiber. False: the fiber is being unwound, and there is no result to take.
template <class A>
bool wait_on_fiber(fiber_core& self, A& awaited, std::source_location where) {
    static_assert(awaitable<A>, "fibers await what sluice coroutines can await");
    fiber_wait_for<A> wanted{awaited, where};
    return self.wait_for(wanted);
}

}  // namespace detail

namespace fiber {

//! Whether the calling code runs on a fiber, so that it may await.
[[nodiscard]] inline bool active() noexcept { return detail::fiber_core::running() != nullptr; }

//! Waits, on a fiber, for anything that a coroutine could `co_await`, and returns what co_await
//! would give. Other coroutines run meanwhile. When the await ends with ECANCELED because the fiber
//! was asked to stop, it throws fiber_cancelled, which is to be let through: it ends the fiber,
//! with destructors. Whoever catches it gets it again from the next await that is cancelled. Throws
//! std::logic_error when not called on a fiber, and what the awaitable throws.
template <class A>
await_result_t<std::remove_reference_t<A>> await(
    A&& a, std::source_location where = std::source_location::current()) {
    using awaited = std::remove_reference_t<A>;
    using outcome = await_result_t<awaited>;
    static_assert(!(detail::is_task<awaited> && std::is_lvalue_reference_v<A>),
                  "a task can be awaited once: write fiber::await(std::move(task))");
    detail::fiber_core& self = detail::fiber_core::current();
    if (!detail::wait_on_fiber(self, a, where)) throw fiber_cancelled{};
    if constexpr (detail::is_result<std::remove_cvref_t<outcome>>) {
        outcome r = a.await_resume();
        if (r.has_error() && r.error() == cancelled_error() && self.stop_requested())
            throw fiber_cancelled{};
        return r;
    } else {
        return a.await_resume();
    }
}

//! The same without the exception: a cancelled await gives ECANCELED. For destructors, and below
//! C code that exceptions must not pass. `a` gives a result<T>. On a fiber that is being unwound it
//! gives ECANCELED at once and starts nothing.
template <class A>
await_result_t<std::remove_reference_t<A>> await_nothrow(
    A&& a, std::source_location where = std::source_location::current()) {
    using awaited = std::remove_reference_t<A>;
    using outcome = await_result_t<awaited>;
    static_assert(detail::is_result<std::remove_cvref_t<outcome>>,
                  "await_nothrow needs an awaitable that gives a result<T>");
    static_assert(!(detail::is_task<awaited> && std::is_lvalue_reference_v<A>),
                  "a task can be awaited once: write fiber::await_nothrow(std::move(task))");
    if (!detail::wait_on_fiber(detail::fiber_core::current(), a, where))
        return outcome{boost::system::in_place_error, cancelled_error()};
    return a.await_resume();
}

//! Calls `fn(args...)` on a fiber; a task that gives its result when it has returned: result<R> for
//! a function that returns R, the result itself for one that returns a result. Callable and
//! arguments are moved into the driver's frame. What escapes from `fn` is thrown by the await.
//! Cancelled: the stop reaches what the fiber awaits; a fiber that fiber_cancelled has ended gives
//! ECANCELED. Errors: EAGAIN at reactor_options::max_fibers, ENOMEM without memory for a stack.
template <class F, class... Args>
auto run(fiber_options options, F&& fn, Args&&... args) {
    return detail::drive_fiber<std::decay_t<F>, std::decay_t<Args>...>(
        options, std::forward<F>(fn),
        std::tuple<std::decay_t<Args>...>{std::forward<Args>(args)...});
}
template <class F, class... Args>
    requires(!std::same_as<std::remove_cvref_t<F>, fiber_options>)
auto run(F&& fn, Args&&... args) {
    return run(fiber_options{}, std::forward<F>(fn), std::forward<Args>(args)...);
}

//! Starts a fiber as a child of a nursery: nursery::spawn() of run().
template <class F, class... Args>
decltype(auto) spawn(nursery& scope, fiber_options options, F&& fn, Args&&... args) {
    return scope.spawn(
        [options](auto f, auto... a) { return run(options, std::move(f), std::move(a)...); },
        std::forward<F>(fn), std::forward<Args>(args)...);
}
template <class F, class... Args>
    requires(!std::same_as<std::remove_cvref_t<F>, fiber_options>)
decltype(auto) spawn(nursery& scope, F&& fn, Args&&... args) {
    return spawn(scope, fiber_options{}, std::forward<F>(fn), std::forward<Args>(args)...);
}

//! How much of its stack the calling fiber has used so far, in bytes; 0 without
//! fiber_options::measure_stack.
[[nodiscard]] inline std::size_t stack_used() { return detail::fiber_core::current().stack_used(); }

//! A snapshot, by the reactor's thread.
[[nodiscard]] fiber_stats stats(reactor& home);

}  // namespace fiber
}  // namespace sluice
