// SPDX-License-Identifier: Apache-2.0
//! What a nursery makes of each spawn. Internal.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

#include "sluice/result.hpp"
#include "sluice/task.hpp"

namespace sluice {

class nursery;

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
    environment environment_;
    [[no_unique_address]] stop_source stop_;
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
}  // namespace sluice
