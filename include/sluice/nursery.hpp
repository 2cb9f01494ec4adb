// SPDX-License-Identifier: Apache-2.0
//! Scopes for concurrent tasks: no task outlives the nursery it was started in.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

#include "sluice/nursery_list.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"
#include "sluice/this_coro.hpp"

namespace sluice {

class nursery;

//! What the failure of one child does to its siblings. A failure is an exception that escapes, or
//! an error in the result<T> that the child's task returns.
enum class on_failure {
    cancel_all,  //!< the first failure cancels the rest
    collect,     //!< the others go on, failures are logged and counted: a server's connections
};

struct nursery_options {
    on_failure policy = on_failure::cancel_all;
};

namespace detail {

struct child_link {
    child_link* prev = this;
    child_link* next = this;
};

//! The coroutine that a nursery makes of each spawn: it owns callable and arguments, and the stop
//! source and environment of the chain of awaits that begins here.
struct child_task {
    class promise_type;
    promise_type* promise;
};

class child_task::promise_type final : public promise_base, public child_link {
public:
    //! Takes the scope from the parameters of the coroutine, see run_child().
    template <class... Rest>
    explicit promise_type(nursery& scope, const Rest&...) noexcept;

    child_task get_return_object() noexcept { return {this}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> h) const noexcept {
            h.promise().ended();
        }
        void await_resume() const noexcept {}
    };
    final_awaiter final_suspend() const noexcept { return {}; }
    void return_value(boost::system::error_code e) noexcept { error_ = e; }
    void unhandled_exception() noexcept { exception_ = std::current_exception(); }

private:
    friend class sluice::nursery;
    void ended() noexcept;  // tells the nursery, which destroys the frame

    nursery& scope_;
    stop_source stop_;
    environment environment_;
    ready_node start_;
    boost::system::error_code error_;
    std::exception_ptr exception_;
};

// The parameters are copied into the frame; the callable is called there, so that what a lambda
// captured lives as long as its coroutine.
template <class F, class... Args>
child_task run_child(nursery&, F fn, Args... args) {
    using awaited = await_result_t<std::invoke_result_t<F&, Args...>>;
    if constexpr (is_result<std::remove_cvref_t<awaited>>) {
        auto outcome = co_await std::invoke(fn, std::move(args)...);
        if (outcome.has_error()) co_return outcome.error();
    } else if constexpr (std::is_void_v<awaited>) {
        co_await std::invoke(fn, std::move(args)...);
    } else {
        static_cast<void>(co_await std::invoke(fn, std::move(args)...));
    }
    co_return boost::system::error_code{};
}

}  // namespace detail

//! Where children are started and ended. Made by with_nursery(), or the reactor's root.
class nursery final : public detail::nursery_node {
public:
    //! For with_nursery() and the reactor.
    nursery(reactor& home, nursery_options options) noexcept
        : nursery_node(home.nurseries()), home_(home), options_(options) {}
    ~nursery();
    nursery(const nursery&) = delete;
    nursery& operator=(const nursery&) = delete;

    //! Starts `fn(args...)`, which returns a task, at the next turn of the loop. Callable and
    //! arguments are moved into the child's frame. A child spawned after the stop was requested
    //! starts cancelled. Throws bad_alloc when there is no memory for the frame.
    template <class F, class... Args>
    void spawn(F&& fn, Args&&... args) {
        add(*detail::run_child<std::decay_t<F>, std::decay_t<Args>...>(*this, std::forward<F>(fn),
                                                                       std::forward<Args>(args)...)
                 .promise);
    }

    //! Cancels all children, present and future.
    void request_stop() noexcept;
    [[nodiscard]] bool stop_requested() const noexcept { return stopping_; }

    [[nodiscard]] std::size_t children() const noexcept { return children_; }
    [[nodiscard]] std::size_t failures() const noexcept { return failures_; }
    [[nodiscard]] reactor& home() const noexcept { return home_; }

    //! Awaits the end of all children. A stop of the awaiting chain cancels them.
    class joined;
    [[nodiscard]] joined join() noexcept;

    //! With cancel_all: throws the first exception of a child, else returns the first error of one.
    //! With collect: success.
    result<void> outcome();

    //! The first exception that escaped from a child, until outcome() has thrown it.
    [[nodiscard]] std::exception_ptr first_exception() const noexcept { return first_exception_; }

    //! Destroys children that ignored the stop: for a reactor that was abandoned.
    std::size_t destroy_children() noexcept;

    //! Calls `fn(const promise_base&)` for each child, the oldest first: for task dumps.
    template <class F>
    void for_each_child(F fn) const {
        for (const detail::child_link* l = list_.prev; l != &list_; l = l->prev)
            fn(static_cast<const child&>(*l));
    }

private:
    friend class detail::child_task::promise_type;
    using child = detail::child_task::promise_type;
    void add(child& c) noexcept;
    void child_ended(child& c) noexcept;
    static child& child_of(detail::child_link& l) noexcept { return static_cast<child&>(l); }

    reactor& home_;
    nursery_options options_;
    detail::child_link list_;
    std::size_t children_ = 0;
    std::size_t failures_ = 0;
    bool stopping_ = false;
    joined* joiner_ = nullptr;
    boost::system::error_code first_error_;
    std::exception_ptr first_exception_;
};

class [[nodiscard]] nursery::joined final : public detail::waiter {
public:
    explicit joined(nursery& scope) noexcept : scope_(scope) {}
    bool await_ready() const noexcept { return scope_.children_ == 0; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (env.stop.stop_requested()) scope_.request_stop();
        if (scope_.children_ == 0) return false;
        scope_.joiner_ = this;
        wait(h, env);
        return true;
    }
    void await_resume() noexcept { scope_.joiner_ = nullptr; }
    void on_stop() noexcept override { scope_.request_stop(); }
    void describe(await_description& into) const override;

private:
    nursery& scope_;
};

inline nursery::joined nursery::join() noexcept { return joined{*this}; }

namespace detail {
template <class... Rest>
child_task::promise_type::promise_type(nursery& scope, const Rest&...) noexcept
    : scope_(scope), environment_{scope.home(), stop_} {
    env_ = &environment_;
}
}  // namespace detail

//! Runs `fn(nursery&)`, which returns a task, and ends when it and all children it has spawned have
//! ended. `fn` counts as a child; the result is nursery::outcome(). Cancelling it cancels the
//! children and still waits for them.
template <class F>
task<result<void>> with_nursery(nursery_options options, F fn) {
    reactor& home = co_await this_coro::reactor();
    nursery here{home, options};
    here.spawn([&]() { return fn(here); });
    co_await here.join();
    co_return here.outcome();
}

template <class F>
task<result<void>> with_nursery(F fn) {
    return with_nursery(nursery_options{}, std::move(fn));
}

template <class F, class... Args>
void reactor::spawn(F&& fn, Args&&... args) {
    root_->spawn(std::forward<F>(fn), std::forward<Args>(args)...);
}

}  // namespace sluice
