// SPDX-License-Identifier: Apache-2.0
//! Where a coroutine is suspended and in what: what task dumps and debuggers read.
#pragma once

#include <bit>
#include <cstdint>
#include <source_location>
#include <type_traits>

#include "sluice/stop.hpp"

namespace sluice::detail {

class promise_base;

//! What a suspended coroutine waits for, in one word: the kind in the low bits, and its address.
//! scripts/gdb/sluice.py reads the same bits.
class awaited_ref {
public:
    enum class kind : std::uintptr_t {
        none,   //!< it runs, or has never been suspended in an await
        child,  //!< a task: its promise
        place,  //!< something that can be told to stop, and to describe itself
        turn,   //!< the ready list
        other,  //!< something that says nothing of itself
    };

    awaited_ref() = default;
    static awaited_ref child(const promise_base& p) noexcept { return {&p, kind::child}; }
    static awaited_ref place(const stop_listener& l) noexcept { return {&l, kind::place}; }
    static awaited_ref turn() noexcept { return {nullptr, kind::turn}; }
    static awaited_ref other() noexcept { return {nullptr, kind::other}; }

    [[nodiscard]] kind what() const noexcept { return kind{bits_ & kinds}; }
    [[nodiscard]] const promise_base& as_child() const noexcept {
        return *reinterpret_cast<const promise_base*>(bits_ & ~kinds);
    }
    [[nodiscard]] const stop_listener& as_place() const noexcept {
        return *reinterpret_cast<const stop_listener*>(bits_ & ~kinds);
    }

private:
    static constexpr std::uintptr_t kinds = 7;
    awaited_ref(const void* address, kind k) noexcept
        : bits_(reinterpret_cast<std::uintptr_t>(address) + static_cast<std::uintptr_t>(k)) {}

    std::uintptr_t bits_ = 0;
};

//! What is awaited when an A is. An awaitable that is no stop_listener, but knows better than
//! "other", has a member `awaited()`: wrappers pass on what they wrap.
template <class A>
awaited_ref awaited_of(const A& a) noexcept {
    if constexpr (requires { a.awaited(); })
        return a.awaited();
    else if constexpr (std::is_base_of_v<stop_listener, A>)
        return awaited_ref::place((const stop_listener&)a);  // a cast that reaches private bases
    else
        return awaited_ref::other();
}

//! Where an await stands: a std::source_location in the shape of a scalar, because g++ 12 keeps a
//! place in the frame of the awaiting coroutine for each argument that is of class type.
using await_place = const void*;
static_assert(sizeof(std::source_location) == sizeof(await_place));

//! One for each coroutine, part of its promise. An await that has its result costs two stores;
//! one that suspends two more. No clock is read: the time is that of the reactor's turn.
class await_record {
public:
    void begin(await_place where) noexcept { where_ = std::bit_cast<std::source_location>(where); }
    void suspend(awaited_ref what, std::int64_t now) noexcept {
        awaited_ = what;
        since_ = now;
    }
    //! What it awaited may be gone from here on.
    void resume() noexcept { awaited_ = {}; }

    //! The last await that was begun; line 0 before the first.
    [[nodiscard]] const std::source_location& where() const noexcept { return where_; }
    [[nodiscard]] awaited_ref awaited() const noexcept { return awaited_; }
    //! Since when, in nanoseconds of the reactor's clock; meaningful while something is awaited.
    [[nodiscard]] std::int64_t since() const noexcept { return since_; }

private:
    std::source_location where_;
    awaited_ref awaited_;
    std::int64_t since_ = 0;
};

}  // namespace sluice::detail
