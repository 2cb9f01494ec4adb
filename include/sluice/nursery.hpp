// SPDX-License-Identifier: Apache-2.0
//! Scopes for concurrent tasks: no task outlives the nursery it was started in.
#pragma once

#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

#include "sluice/child_task.hpp"
#include "sluice/failure.hpp"
#include "sluice/nursery_list.hpp"
#include "sluice/result.hpp"
#include "sluice/this_coro.hpp"

namespace sluice {

//! What the failure of one child does to its siblings. A failure is an exception that escapes, or
//! an error in the result<T> that the child's task returns.
enum class on_failure {
    cancel_all,  //!< the first failure cancels the rest
    collect,     //!< the others go on, failures are logged and counted: a server's connections
};

struct nursery_options {
    on_failure policy = on_failure::cancel_all;

    //! Children that may be there at once; 0: as many as memory allows. The function of
    //! with_nursery() needs no place.
    std::size_t max_children = 0;

    //! Where failures are kept, for those who want more than the first; must outlive the nursery.
    //! Null: the nursery keeps them itself, see nursery::failed().
    failure_log* failures = nullptr;
};

//! Where children are started and ended. Made by with_nursery(), or the reactor's root.
class nursery final : public detail::nursery_node {
public:
    //! For with_nursery(), background and the reactor.
    nursery(reactor& home, nursery_options options) noexcept
        : nursery_node(home.nurseries()), home_(home), options_(options) {}
    ~nursery();
    nursery(const nursery&) = delete;
    nursery& operator=(const nursery&) = delete;

    //! Starts `fn(args...)`, which returns a task, at the next turn of the loop. Callable and
    //! arguments are moved into the child's frame. A child spawned after the stop was requested
    //! starts cancelled. Throws bad_alloc when there is no memory for the frame, and length_error
    //! when max_children are there: who can meet the bound waits with spawn_when_room().
    template <class F, class... Args>
    void spawn(F&& fn, Args&&... args) {
        take_place();
        try {
            add(make_child(std::forward<F>(fn), std::forward<Args>(args)...));
        } catch (...) {
            give_place_back();
            throw;
        }
    }

    //! Waits until there are less than max_children, then spawns. Waiters are served in order, and
    //! a place that is promised to one is no one else's. Cancelled: ECANCELED, nothing is started,
    //! callable and arguments are destroyed. A child that waits here keeps its own place meanwhile.
    //! With g++ 12 a lambda that captures more than references and plain values must not stand in
    //! the co_await itself: give the awaitable a name, or pass the values as arguments.
    template <class F, class... Args>
    class spawning;
    template <class F, class... Args>
    [[nodiscard]] auto spawn_when_room(F&& fn, Args&&... args) {
        return spawning<std::decay_t<F>, std::decay_t<Args>...>{*this, std::forward<F>(fn),
                                                                std::forward<Args>(args)...};
    }

    //! Whether spawn() finds a place now.
    [[nodiscard]] bool has_room() const noexcept {
        return options_.max_children == 0 || places_ < options_.max_children;
    }

    //! Cancels all children, present and future.
    void request_stop() noexcept;
    [[nodiscard]] bool stop_requested() const noexcept { return stopping_; }

    [[nodiscard]] std::size_t children() const noexcept { return children_; }
    [[nodiscard]] reactor& home() const noexcept { return home_; }

    //! Children that have failed; those that ended with ECANCELED after the stop did not.
    [[nodiscard]] std::size_t failures() const noexcept { return failures_; }

    //! The failures themselves, as far as the log keeps them.
    [[nodiscard]] const failure_log& failed() const noexcept {
        return options_.failures != nullptr ? *options_.failures : own_log_;
    }

    //! Awaits the end of all children. A stop of the awaiting chain cancels them. Any number of
    //! coroutines may wait.
    class joined;
    [[nodiscard]] joined join() noexcept;

    //! With cancel_all: throws the first exception of a child, else returns the first error of one,
    //! else ECANCELED if children ended with it after the stop. With collect: success.
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
    template <class F>
    friend task<result<void>> with_nursery(nursery_options options, F fn);
    class function_base;
    template <class A>
    class function;
    class room_waiter;
    using child = detail::child_task::promise_type;

    template <class F, class... Args>
    child& make_child(F&& fn, Args&&... args) {
        return *detail::run_child<std::decay_t<F>, std::decay_t<Args>...>(
                    *this, std::forward<F>(fn), std::forward<Args>(args)...)
                    .promise;
    }
    void add(child& c) noexcept;
    void child_ended(child& c) noexcept;
    void note_failure(const failure& f) noexcept;
    void take_place();
    void give_place_back() noexcept;
    [[nodiscard]] bool busy() const noexcept { return children_ != 0 || places_ != 0; }
    void wake_joiners(bool chain_ends) noexcept;
    static child& child_of(detail::child_link& l) noexcept { return static_cast<child&>(l); }

    reactor& home_;
    nursery_options options_;
    detail::child_link list_;
    std::size_t children_ = 0;
    std::size_t places_ = 0;  // taken by children, or promised
    std::size_t failures_ = 0;
    bool stopping_ = false;
    bool any_cancelled_ = false;
    function_base* function_ = nullptr;  // of with_nursery(), while it runs
    joined* joiners_ = nullptr;
    detail::child_link line_;  // of room_waiters
    failure_log own_log_;
    boost::system::error_code first_error_;
    std::exception_ptr first_exception_;
};

class [[nodiscard]] nursery::joined final : public detail::waiter {
public:
    explicit joined(nursery& scope) noexcept : scope_(scope) {}
    bool await_ready() const noexcept { return !scope_.busy(); }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept;
    void await_resume() const noexcept {}
    void on_stop() noexcept override;
    void describe(await_description& into) const override;

private:
    friend class nursery;
    nursery& scope_;
    joined* next_ = nullptr;
};

inline nursery::joined nursery::join() noexcept { return joined{*this}; }

//! The function of with_nursery() while it is awaited: a child without a frame of its own.
class nursery::function_base : public stop_listener {
public:
    void on_stop() noexcept override { scope_.request_stop(); }
    void describe(await_description& into) const override;

protected:
    explicit function_base(nursery& scope) noexcept
        : scope_(scope), environment_{scope.home(), stop_} {}
    ~function_base() = default;
    void begin(const environment& outer, detail::awaited_ref inner) noexcept;
    void end() noexcept;

    nursery& scope_;
    const environment* outer_ = nullptr;
    stop_source stop_;
    environment environment_;

private:
    friend class nursery;
    detail::awaited_ref awaited_;
};

template <class A>
class [[nodiscard]] nursery::function final : public function_base {
public:
    function(nursery& scope, A& inner) noexcept : function_base(scope), inner_(inner) {}
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& outer) {
        begin(outer, detail::awaited_of(inner_));
        return inner_.await_suspend(h, environment_);
    }
    decltype(auto) await_resume() {
        end();
        return inner_.await_resume();
    }

private:
    A& inner_;
};

//! Stands in the line of those who want to spawn. One that is not cancelled is resumed with a place
//! promised to it, also when there was one at once: it may still pass through the ready list.
class nursery::room_waiter : public detail::waiter, private detail::child_link {
public:
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept;
    void on_stop() noexcept override;

protected:
    explicit room_waiter(nursery& scope) noexcept : scope_(scope) {}
    room_waiter(room_waiter&& o) noexcept : waiter(std::move(o)), child_link(), scope_(o.scope_) {}
    ~room_waiter() = default;

    nursery& scope_;
    bool cancelled_ = false;

private:
    friend class nursery;
    void leave_line() noexcept;
};

template <class F, class... Args>
class [[nodiscard]] nursery::spawning final : public room_waiter {
public:
    template <class G, class... Given>
    explicit spawning(nursery& scope, G&& fn, Given&&... args)
        : room_waiter(scope), fn_(std::forward<G>(fn)), args_(std::forward<Given>(args)...) {}

    result<void> await_resume() {
        if (cancelled_) return cancelled_error();
        --scope_.places_;  // the promised one, for spawn() to take
        std::apply([this](Args&... args) { scope_.spawn(std::move(fn_), std::move(args)...); },
                   args_);
        return {};
    }

private:
    F fn_;
    std::tuple<Args...> args_;
};

namespace detail {
template <class... Rest>
child_task::promise_type::promise_type(nursery& scope, const Rest&...) noexcept
    : scope_(scope), environment_{scope.home(), stop_} {
    env_ = &environment_;
}
}  // namespace detail

//! Runs `fn(nursery&)`, which returns a task, and ends when it and all children it has spawned have
//! ended. `fn` is started at once and counts as a child; the result is nursery::outcome().
//! Cancelling it cancels the children and still waits for them.
template <class F>
task<result<void>> with_nursery(nursery_options options, F fn) {
    reactor& home = co_await this_coro::reactor();
    nursery here{home, options};
    try {
        auto work = fn(here);
        using awaited = decltype(work);
        nursery::function<awaited> function{here, work};
        if constexpr (detail::is_result<std::remove_cvref_t<await_result_t<awaited>>>) {
            auto ended = co_await function;
            if (ended.has_error()) here.note_failure({ended.error(), {}});
        } else {
            static_cast<void>(co_await function);
        }
    } catch (...) {
        here.note_failure({{}, std::current_exception()});
    }
    if (here.busy()) co_await here.join();
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
