// SPDX-License-Identifier: Apache-2.0
//! What all coroutines of sluice have in common.
#pragma once

#include <coroutine>
#include <cstddef>
#include <source_location>
#include <type_traits>
#include <utility>

#include "sluice/awaitable.hpp"

namespace sluice::detail {

template <class A>
inline constexpr bool is_task = false;

template <class A>
class await_adaptor;

//! An awaitable that may end the coroutine that awaits it, and so stands between the language and
//! itself: or_return().
template <class A>
concept adapts_itself = requires(A& a, promise_base& promise) { a.adapt(promise); };

//! Frames from the reactor's pool, the place in the ready list, the environment that a coroutine
//! hands to what it awaits, and the record of what that is. The first base of every promise: task
//! dumps and debuggers take the promise's address for that of this part.
class promise_base : public ready_node {
public:
    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* frame) noexcept { frame_pool::deallocate(frame); }

    promise_base() = default;
    promise_base(const promise_base&) = delete;
    promise_base& operator=(const promise_base&) = delete;

    template <class A>
    auto await_transform(A&& a, await_place where = __builtin_source_location()) noexcept {
        using awaited = std::remove_reference_t<A>;
        record_.begin(where);
        if constexpr (adapts_itself<awaited>) {
            return a.adapt(*this);
        } else {
            static_assert(awaitable<awaited>, "sluice coroutines await sluice awaitables only");
            static_assert(!(is_task<awaited> && std::is_lvalue_reference_v<A>),
                          "a task can be awaited once: write co_await std::move(task)");
            return await_adaptor<awaited>{a, *this};
        }
    }

    [[nodiscard]] const environment& env() const noexcept { return *env_; }
    [[nodiscard]] const await_record& record() const noexcept { return record_; }

    // For what stands between the language and an awaitable.

    void suspended(awaited_ref what) noexcept {
        record_.suspend(what, env_->home.now().time_since_epoch().count());
    }
    void resumed() noexcept { record_.resume(); }
    //! Suspends the coroutine for one pass through the ready list.
    void take_turn() noexcept {
        suspended(awaited_ref::turn());
        env_->home.queue().make_ready(*this);
    }

protected:
    ~promise_base() {
        if (queued()) destroyed_while_queued();
    }
    const environment* env_ = nullptr;

private:
    void destroyed_while_queued() noexcept;

    await_record record_;
};

inline const promise_base& promise_of(void* frame) noexcept {
    return static_cast<const promise_base&>(
        ready_node::of(std::coroutine_handle<>::from_address(frame)));
}
inline const void* frame_of(const promise_base& p) noexcept {
    return const_cast<promise_base&>(p).handle().address();
}

//! Stands between the language and an awaitable: hands down the environment, notes what is awaited,
//! and sends results that are there at once through the ready list when the budget of the coroutine
//! is used up.
template <class A>
class [[nodiscard]] await_adaptor {
public:
    await_adaptor(A& inner, promise_base& promise) noexcept : inner_(inner), promise_(promise) {}

    bool await_ready() noexcept {
        const environment& env = promise_.env();
        if (env.stop.stop_requested() || !inner_.await_ready()) return false;
        if (env.home.queue().spend()) return true;
        promise_.suspended(awaited_ref::turn());  // tells await_suspend() that the result is there
        return false;
    }

    bool await_suspend(std::coroutine_handle<> h) {
        if (promise_.record().awaited().what() != awaited_ref::kind::turn) {
            if (inner_.await_suspend(h, promise_.env())) {
                promise_.suspended(awaited_of(inner_));
                return true;
            }
            if (promise_.env().home.queue().spend()) return false;
        }
        promise_.take_turn();
        return true;
    }

    [[nodiscard]] decltype(auto) await_resume() {
        promise_.resumed();
        return inner_.await_resume();
    }

    await_adaptor(const await_adaptor&) = delete;
    await_adaptor& operator=(const await_adaptor&) = delete;

private:
    A& inner_;
    promise_base& promise_;
};

}  // namespace sluice::detail
