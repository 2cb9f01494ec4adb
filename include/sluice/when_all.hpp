// SPDX-License-Identifier: Apache-2.0
//! Several awaitables at once, and all of their results.
#pragma once

#include <coroutine>
#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include "sluice/branch.hpp"

namespace sluice {
namespace detail {

template <class... A>
class [[nodiscard]] when_all_awaiter final {
public:
    explicit when_all_awaiter(A... inner) : inner_(std::move(inner)...) {}
    when_all_awaiter(when_all_awaiter&& o) : inner_(std::move(o.inner_)) {}

    bool await_ready() const noexcept { return sizeof...(A) == 0; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        fork_.begin(h, env);
        std::apply([&](A&... inner) { (fork_.add(run_branch(fork_, inner)), ...); }, inner_);
        return fork_.start();
    }
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_of(fork_); }
    std::tuple<branch_value_t<A>...> await_resume() {
        fork_.rethrow_first();
        [[maybe_unused]] branch_base* at = fork_.branches();
        return {take<branch_value_t<A>>(at)...};  // braces: from the left to the right
    }

private:
    template <class T>
    static T take(branch_base*& at) {
        auto& b = static_cast<typename branch<T>::promise_type&>(*at);
        at = at->next();
        return std::move(*b.value());
    }

    fork fork_{fork::ends::on_failure};
    std::tuple<A...> inner_;  // goes first
};

template <class A>
class [[nodiscard]] when_all_range_awaiter final {
    using value = branch_value_t<A>;

public:
    explicit when_all_range_awaiter(std::vector<A> inner) noexcept : inner_(std::move(inner)) {}
    when_all_range_awaiter(when_all_range_awaiter&& o) noexcept : inner_(std::move(o.inner_)) {}

    bool await_ready() const noexcept { return inner_.empty(); }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        fork_.begin(h, env);
        for (A& inner : inner_) fork_.add(run_branch(fork_, inner));
        return fork_.start();
    }
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_of(fork_); }
    std::vector<value> await_resume() {
        fork_.rethrow_first();
        std::vector<value> all;
        all.reserve(inner_.size());
        for (branch_base* b = fork_.branches(); b != nullptr; b = b->next())
            all.push_back(
                std::move(*static_cast<typename branch<value>::promise_type&>(*b).value()));
        return all;
    }

private:
    fork fork_{fork::ends::on_failure};
    std::vector<A> inner_;  // goes first
};

}  // namespace detail

//! Awaits all of them side by side and gives a tuple of what each gave, std::monostate for void.
//! They start in the order in which they stand, at once. The first that fails, by an error in its
//! result or an exception, cancels the others, and all have ended when this completes: each result
//! says what came of its own await, so those that were cancelled hold ECANCELED or, if it was there
//! already, their value. The first exception is thrown then; further ones are logged and counted.
//! A stop of the awaiting chain cancels all. Memory: a pooled frame for each.
template <awaitable... A>
auto when_all(A... all) {
    return detail::when_all_awaiter<A...>{std::move(all)...};
}

//! The same for any number of one type, tasks mostly: gives a vector in their order.
template <awaitable A>
auto when_all(std::vector<A> all) {
    return detail::when_all_range_awaiter<A>{std::move(all)};
}

}  // namespace sluice
