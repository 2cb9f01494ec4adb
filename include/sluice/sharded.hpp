// SPDX-License-Identifier: Apache-2.0
//! An object of which each reactor of a service has its own.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "sluice/nursery.hpp"
#include "sluice/on.hpp"
#include "sluice/reactor.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"

namespace sluice {
namespace detail {

//! What a service does with a sharded<T>; each function on the reactor's thread.
class sharded_base {
public:
    sharded_base() = default;
    sharded_base(const sharded_base&) = delete;
    sharded_base& operator=(const sharded_base&) = delete;
    virtual ~sharded_base() = default;

    virtual task<result<void>> start(reactor& home) = 0;
    virtual task<> stop(reactor& home) = 0;
    virtual void destroy(reactor& home) noexcept = 0;
};

//! Spreads hashes over reactors. std::hash of a number is the number, so it is mixed first
//! (the finalizer of MurmurHash3).
constexpr unsigned owner_of(std::uint64_t hash, std::size_t reactors) noexcept {
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdU;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53U;
    hash ^= hash >> 33;
    return static_cast<unsigned>(((hash >> 32) * reactors) >> 32);
}

}  // namespace detail

//! One T on each reactor, made by service::add_sharded(). T is made on its reactor's thread, from
//! `T(reactor&, args...)` if there is such a constructor, else from `T(args...)`. Then its member
//! `start()` is called, if it has one: a function or a task, which may give result<void>. co_main
//! begins when that is done on all reactors. When the work of the whole service has ended, `stop()`
//! is called, if there is one; when that is done on all reactors, the T are destroyed.
//!
//! What start() does is cancelled by a stop of the service; what stop() does only ends at the hard
//! deadline (service_options::cancel_timeout), at which T is destroyed without it. All functions
//! below are called on reactors of the service, between start() and the end of stop().
template <class T>
class sharded final : public detail::sharded_base {
public:
    template <class... Args>
    explicit sharded(std::size_t reactors, Args... args) : shards_(reactors) {
        make_ = [... args = std::move(args)](reactor& home) {
            if constexpr (std::constructible_from<T, reactor&, const Args&...>)
                return std::make_unique<T>(home, args...);
            else
                return std::make_unique<T>(args...);
        };
    }

    //! Of the reactor that calls. Throws std::logic_error on a thread that has none.
    [[nodiscard]] T& local() const {
        const reactor* here = reactor::current();
        if (here == nullptr || here->index() >= shards_.size() ||
            shards_[here->index()].home != here)
            throw std::logic_error("sluice: there is nothing of this sharded object here");
        return *shards_[here->index()].object;
    }

    [[nodiscard]] unsigned size() const noexcept { return static_cast<unsigned>(shards_.size()); }

    //! The index of the reactor to which a key of that hash belongs.
    [[nodiscard]] unsigned owner(std::uint64_t hash) const noexcept {
        return detail::owner_of(hash, shards_.size());
    }

    //! `fn(T&, args...)` on the reactor of that index, at once where it is the own one; see on().
    template <class F, class... Args>
    auto invoke_on(unsigned index, F&& fn, Args&&... args) {
        return on(index, local_call<std::decay_t<F>>{*this, std::forward<F>(fn)},
                  std::forward<Args>(args)...);
    }

    //! `fn(T&)` on all reactors at the same time, with a copy of `fn` for each. The first failure
    //! cancels the others; ends when all have ended.
    template <class F>
    task<result<void>> invoke_on_all(F fn) {
        co_return co_await with_nursery([this, &fn](nursery& scope) -> task<> {
            for (unsigned i = 0; i < size(); ++i) scope.spawn(one<F>, this, i, &fn);
            co_return;
        });
    }

    //! `map(T&)` on all reactors at the same time, with a copy of `map` for each. Here, as the
    //! values arrive: `initial = reduce(initial, value)`. Fails like invoke_on_all().
    template <class Map, class U, class Reduce>
    task<result<U>> map_reduce(Map map, U initial, Reduce reduce) {
        auto mapped = co_await with_nursery([&](nursery& scope) -> task<> {
            for (unsigned i = 0; i < size(); ++i)
                scope.spawn(fold<Map, U, Reduce>, this, i, &map, &initial, &reduce);
            co_return;
        });
        if (!mapped) co_return result<U>{boost::system::in_place_error, mapped.error()};
        co_return result<U>{boost::system::in_place_value, std::move(initial)};
    }

    task<result<void>> start(reactor& home) override {
        shard& here = shards_[home.index()];
        here.object = make_(home);
        here.home = &home;
        if constexpr (requires(T& t) { t.start(); }) {
            using returned = decltype(here.object->start());
            if constexpr (!awaitable<returned>) {
                here.object->start();
            } else if constexpr (gives_result<returned>()) {
                auto started = co_await here.object->start();
                if (started.has_error()) co_return started.error();
            } else {
                co_await here.object->start();
            }
        }
        here.started = true;
        co_return result<void>{};
    }

    task<> stop(reactor& home) override {
        shard& here = shards_[home.index()];
        if (!std::exchange(here.started, false)) co_return;
        if constexpr (requires(T& t) { t.stop(); }) {
            using returned = decltype(here.object->stop());
            if constexpr (!awaitable<returned>) {
                here.object->stop();
            } else if constexpr (gives_result<returned>()) {
                auto stopped = co_await here.object->stop();
                static_cast<void>(stopped);
            } else {
                co_await here.object->stop();
            }
        }
    }

    void destroy(reactor& home) noexcept override {
        shard& here = shards_[home.index()];
        here.home = nullptr;
        here.started = false;
        here.object.reset();
    }

private:
    template <class A>
    static constexpr bool gives_result() {
        return detail::is_result<std::remove_cvref_t<await_result_t<A>>>;
    }

    struct alignas(64) shard {  // written by its own thread
        std::unique_ptr<T> object;
        const reactor* home = nullptr;
        bool started = false;
    };

    template <class F>
    struct local_call {
        const sharded& owner;
        F fn;
        template <class... Args>
        decltype(auto) operator()(Args&&... args) {
            return std::invoke(fn, owner.local(), std::forward<Args>(args)...);
        }
    };

    template <class F>
    static task<result<void>> one(sharded* self, unsigned index, F* fn) {
        auto outcome = co_await self->invoke_on(index, F(*fn));
        if (!outcome) co_return outcome.error();
        co_return result<void>{};
    }

    template <class Map, class U, class Reduce>
    static task<result<void>> fold(sharded* self, unsigned index, Map* map, U* sum,
                                   Reduce* reduce) {
        auto outcome = co_await self->invoke_on(index, Map(*map));
        if (!outcome) co_return outcome.error();
        *sum = std::invoke(*reduce, std::move(*sum), std::move(*outcome));
        co_return result<void>{};
    }

    std::function<std::unique_ptr<T>(reactor&)> make_;
    std::vector<shard> shards_;
};

}  // namespace sluice
