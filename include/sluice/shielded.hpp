// SPDX-License-Identifier: Apache-2.0
//! Awaits that a stop does not reach.
#pragma once

#include <coroutine>
#include <type_traits>
#include <utility>

#include "sluice/awaitable.hpp"

namespace sluice {
namespace detail {

template <class A>
class [[nodiscard]] shielded_awaiter final {
public:
    static constexpr bool takes_on_resume = sluice::takes_on_resume<A>;

    explicit shielded_awaiter(A inner) noexcept(std::is_nothrow_move_constructible_v<A>)
        : inner_(std::move(inner)) {}
    shielded_awaiter(shielded_awaiter&& o) noexcept(std::is_nothrow_move_constructible_v<A>)
        : inner_(std::move(o.inner_)) {}

    bool await_ready() const { return inner_.await_ready(); }
    bool await_suspend(std::coroutine_handle<> h, const environment& outer) {
        if (inner_.await_ready()) return false;  // of a chain that is stopped nobody has asked it
        new (&env_) environment{outer.home, stop_};
        return inner_.await_suspend(h, env_);
    }
    decltype(auto) await_resume() { return inner_.await_resume(); }
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_of(inner_); }

private:
    stop_source stop_;  // nobody fires it
    union {
        environment env_;  // made when the outer one is known
    };
    A inner_;  // goes first
};

}  // namespace detail

//! Awaits `inner` and hides the stop of the chain from it, one that came before included: for the
//! goodbye of a protocol, for writing down what must not be lost. It gives what `inner` gives. The
//! awaits after it are cancelled as before. The hard end of a service holds: when its
//! cancel_timeout is over, no coroutine is resumed. So a shield goes around a limit in time,
//! `shielded(with_timeout(1s, ...))`: the other way round the limit could not reach inside.
template <awaitable A>
auto shielded(A inner) {
    return detail::shielded_awaiter<A>{std::move(inner)};
}

}  // namespace sluice
