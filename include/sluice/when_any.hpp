// SPDX-License-Identifier: Apache-2.0
//! Several awaitables at once, and the result of the first.
#pragma once

#include <coroutine>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "sluice/branch.hpp"

namespace sluice {

//! What when_any() gives.
template <class... T>
struct any_of {
    //! Which one ended first; its result is there.
    std::size_t index;

    //! Of the others those are there that completed although they lost: all that took something or
    //! did something. They hold a value, or an error other than ECANCELED.
    std::tuple<std::optional<T>...> results;

    //! The result of the I-th; it must be there.
    template <std::size_t I>
    [[nodiscard]] auto& get() noexcept {
        return *std::get<I>(results);
    }
    //! Whether the I-th completed, as the first or beside it.
    template <std::size_t I>
    [[nodiscard]] bool has() const noexcept {
        return std::get<I>(results).has_value();
    }
};

//! What when_any() of a vector gives.
template <class T>
struct any_in_range {
    std::size_t index;  //!< which one ended first
    T value;            //!< what it gave

    struct late {
        std::size_t index;
        T value;
    };
    std::vector<late> others;  //!< those that completed although they lost, in their order
};

namespace detail {

//! What a loser leaves: nothing, when it did as it was told.
template <class T>
std::optional<T> late_value(std::optional<T>& value) {
    if constexpr (is_result<T>)
        if (value && value->has_error() && value->error() == cancelled_error()) value.reset();
    return std::move(value);
}

template <class... A>
class [[nodiscard]] when_any_awaiter final {
public:
    explicit when_any_awaiter(A... inner) : inner_(std::move(inner)...) {}
    when_any_awaiter(when_any_awaiter&& o) : inner_(std::move(o.inner_)) {}

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        fork_.begin(h, env);
        std::apply([this](A&... inner) { (fork_.add(run_branch(fork_, inner)), ...); }, inner_);
        return fork_.start();
    }
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_of(fork_); }
    any_of<branch_value_t<A>...> await_resume() {
        fork_.rethrow_first();
        branch_base* at = fork_.branches();
        return {fork_.first().index(), {take<branch_value_t<A>>(at)...}};
    }

private:
    template <class T>
    std::optional<T> take(branch_base*& at) {
        auto& b = static_cast<typename branch<T>::promise_type&>(*at);
        at = at->next();
        if (&b == &fork_.first()) return std::move(b.value());
        return late_value(b.value());
    }

    fork fork_{fork::ends::with_first};
    std::tuple<A...> inner_;  // goes first
};

template <class A>
class [[nodiscard]] when_any_range_awaiter final {
    using value = branch_value_t<A>;

public:
    explicit when_any_range_awaiter(std::vector<A> inner) noexcept : inner_(std::move(inner)) {}
    when_any_range_awaiter(when_any_range_awaiter&& o) noexcept : inner_(std::move(o.inner_)) {}

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        fork_.begin(h, env);
        for (A& inner : inner_) fork_.add(run_branch(fork_, inner));
        return fork_.start();
    }
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_of(fork_); }
    any_in_range<value> await_resume() {
        fork_.rethrow_first();
        std::vector<typename any_in_range<value>::late> others;
        std::optional<value>* winner = nullptr;
        for (branch_base* at = fork_.branches(); at != nullptr; at = at->next()) {
            auto& b = static_cast<typename branch<value>::promise_type&>(*at);
            if (&b == &fork_.first())
                winner = &b.value();
            else if (auto late = late_value(b.value()))
                others.push_back({b.index(), std::move(*late)});
        }
        return {fork_.first().index(), std::move(**winner), std::move(others)};
    }

private:
    fork fork_{fork::ends::with_first};
    std::vector<A> inner_;  // goes first
};

}  // namespace detail

//! Awaits them side by side until one has ended, in whatever way, and cancels the others. All have
//! ended when this completes. The first to end is given, with what others gave that completed
//! although they were told to stop, so nothing that was taken or done is lost:
//!   - a receive, an accept or a sleep that loses has taken nothing, even when it was woken
//!   already:
//!     bytes and connections wait for the next one;
//!   - a task, a send, or anything else that completed anyway has its result beside the winner's.
//! They start in the order in which they stand; when one has its result at once, those after it
//! aren't started. The exception of the first is thrown; one of another is logged and counted.
//! A stop of the awaiting chain cancels all. Memory: a pooled frame for each.
template <awaitable First, awaitable... A>
auto when_any(First first, A... others) {
    return detail::when_any_awaiter<First, A...>{std::move(first), std::move(others)...};
}

//! The same for any number of one type; throws invalid_argument when there is none.
template <awaitable A>
auto when_any(std::vector<A> all) {
    if (all.empty()) throw std::invalid_argument("sluice: when_any of nothing never ends");
    return detail::when_any_range_awaiter<A>{std::move(all)};
}

}  // namespace sluice
