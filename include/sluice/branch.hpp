// SPDX-License-Identifier: Apache-2.0
//! Where a chain of awaits branches and joins again: what when_all() and when_any() are made of.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "sluice/result.hpp"
#include "sluice/task.hpp"

namespace sluice::detail {

//! What is kept of an await of an A.
template <class A>
using branch_value_t = std::conditional_t<std::is_void_v<await_result_t<A>>, std::monostate,
                                          std::remove_cvref_t<await_result_t<A>>>;

class fork;

//! The coroutine that awaits one of the awaitables. A stop source and an environment of its own, as
//! a nursery's child has, because it is suspended in a place of its own.
class branch_base : public promise_base {
public:
    std::suspend_always initial_suspend() const noexcept { return {}; }
    template <class Promise>
    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<Promise> h) const noexcept { h.promise().ended(); }
        void await_resume() const noexcept {}
    };
    void unhandled_exception() noexcept { exception_ = std::current_exception(); }

    //! Throws what the awaitable has thrown.
    void rethrow() const {
        if (exception_) std::rethrow_exception(exception_);
    }

    [[nodiscard]] std::size_t index() const noexcept { return index_; }
    [[nodiscard]] branch_base* next() const noexcept { return next_; }

protected:
    explicit branch_base(fork& scope) noexcept;
    ~branch_base() = default;
    void ended() noexcept;

    bool failed_ = false;

private:
    friend class fork;
    fork& scope_;
    stop_source stop_;
    environment environment_;
    std::coroutine_handle<> frame_;
    branch_base* next_ = nullptr;
    std::size_t index_ = 0;
    std::exception_ptr exception_;
};

template <class T>
struct branch {
    class promise_type;
    promise_type* promise;
};

template <class T>
class branch<T>::promise_type final : public branch_base {
public:
    template <class... Rest>
    explicit promise_type(fork& scope, const Rest&...) noexcept : branch_base(scope) {}

    branch get_return_object() noexcept { return {this}; }
    final_awaiter<promise_type> final_suspend() const noexcept { return {}; }
    void return_value(std::optional<T>&& value) {
        if constexpr (is_result<T>) failed_ = value && value->has_error();
        value_ = std::move(value);
    }

    //! Empty when the awaitable has thrown, was not started, or was woken and told to leave what it
    //! was woken for.
    [[nodiscard]] std::optional<T>& value() noexcept { return value_; }

private:
    std::optional<T> value_;
};

//! The branches of one await. Lives in its awaiter, moved never once it has begun.
class fork final : private stop_listener {
public:
    //! Which end of a branch cancels the others.
    enum class ends { on_failure, with_first };

    explicit fork(ends mode) noexcept : mode_(mode) {}
    fork(const fork&) = delete;
    fork& operator=(const fork&) = delete;
    ~fork();  // with the frames: what they await must have gone before

    //! First: what the branches share.
    void begin(std::coroutine_handle<> parent, const environment& outer) noexcept;
    //! Then each branch.
    template <class T>
    void add(branch<T> b) noexcept {
        link(*b.promise,
             std::coroutine_handle<typename branch<T>::promise_type>::from_promise(*b.promise));
    }
    //! Then all run. False: all have ended.
    bool start();

    [[nodiscard]] reactor& home() const noexcept { return outer_->home; }
    [[nodiscard]] branch_base* branches() const noexcept { return head_; }

    //! The branch that ended first.
    [[nodiscard]] const branch_base& first() const noexcept { return *first_; }
    //! What comes now comes too late.
    [[nodiscard]] bool decided() const noexcept {
        return mode_ == ends::with_first && first_ != nullptr;
    }

    //! Throws the first exception of when_all(); the others have been logged and counted.
    void rethrow_first() const {
        if (thrown_ != nullptr) thrown_->rethrow();
    }

private:
    friend class branch_base;
    void link(branch_base& b, std::coroutine_handle<> frame) noexcept;
    void ended(branch_base& b) noexcept;
    void stop_all() noexcept;
    void on_stop() noexcept override { stop_all(); }
    void describe(await_description& into) const override;

    ends mode_;
    bool starting_ = false;
    std::size_t running_ = 0;
    std::size_t count_ = 0;
    branch_base* head_ = nullptr;
    branch_base* tail_ = nullptr;
    branch_base* first_ = nullptr;
    branch_base* thrown_ = nullptr;
    std::coroutine_handle<> parent_;
    const environment* outer_ = nullptr;
};

inline branch_base::branch_base(fork& scope) noexcept
    : scope_(scope), environment_{scope.home(), stop_} {
    env_ = &environment_;
}

inline void branch_base::ended() noexcept { scope_.ended(*this); }

//! Awaits an A and takes its result, unless that comes too late and an A that isn't asked for its
//! result has taken nothing.
template <class A>
class arrival {
public:
    arrival(A& inner, const fork& scope) noexcept : inner_(inner), scope_(scope) {}
    bool await_ready() const { return inner_.await_ready(); }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        return inner_.await_suspend(h, env);
    }
    std::optional<branch_value_t<A>> await_resume() {
        if constexpr (takes_on_resume<A>)
            if (scope_.decided()) return std::nullopt;
        if constexpr (std::is_void_v<await_result_t<A>>) {
            inner_.await_resume();
            return std::monostate{};
        } else {
            return std::optional<branch_value_t<A>>(std::in_place, inner_.await_resume());
        }
    }

    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_of(inner_); }

private:
    A& inner_;
    const fork& scope_;
};

template <class A>
branch<branch_value_t<A>> run_branch(fork& scope, A& inner) {
    arrival<A> waits{inner, scope};
    auto value = co_await waits;
    co_return std::move(value);
}

}  // namespace sluice::detail
