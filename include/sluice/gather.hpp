// SPDX-License-Identifier: Apache-2.0
//! Asking all reactors of a service at once.
#pragma once

#include <chrono>
#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "sluice/awaitable.hpp"
#include "sluice/result.hpp"
#include "sluice/service.hpp"
#include "sluice/timeout.hpp"

namespace sluice {
namespace detail {

template <class T>
class [[nodiscard]] gather_awaiter final : public waiter, private timer_node {
public:
    gather_awaiter(service& all, std::function<T(reactor&)> ask, std::chrono::nanoseconds limit)
        : service_(all), ask_(std::move(ask)), limit_(limit) {}
    gather_awaiter(gather_awaiter&& o) noexcept
        : waiter(std::move(o)),
          timer_node(),
          service_(o.service_),
          ask_(std::move(o.ask_)),
          limit_(o.limit_) {}
    ~gather_awaiter() { leave(); }

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        if (env.stop.stop_requested()) {
            cancelled_ = true;
            yield(h, env);
            return true;
        }
        state_ = std::make_shared<state>(service_.reactors());
        for (unsigned i = 0; i < service_.reactors(); ++i) ask(i, env.home.index());
        wait(h, env);
        if (state_->missing == 0) {
            wake();
            return true;
        }
        state_->waits = this;
        env.home.timers().insert(*this, deadline_after(env.home, limit_));
        return true;
    }
    result<std::vector<std::optional<T>>> await_resume() {
        leave();
        if (cancelled_) return cancelled_error();
        return std::move(state_->answers);
    }
    void on_stop() noexcept override {
        cancelled_ = true;
        leave();
        wake();
    }

private:
    // Touched on the asking reactor only; kept by questions whose answer nobody waits for any more.
    struct state {
        explicit state(unsigned n) : answers(n) {}
        std::vector<std::optional<T>> answers;
        unsigned missing = 0;
        gather_awaiter* waits = nullptr;

        void arrived(unsigned from, T answer) {
            if (waits == nullptr) return;  // too late
            answers[from] = std::move(answer);
            if (--missing == 0) std::exchange(waits, nullptr)->done();
        }
    };

    void ask(unsigned whom, unsigned asker) {
        if (whom == asker) {
            state_->answers[whom] = ask_(*reactor::current());
            return;
        }
        const bool alive = service_.post(
            whom, [&all = service_, s = state_, ask = ask_, whom, asker](reactor& there) {
                all.post(asker, [s, whom, answer = ask(there)](reactor&) mutable {
                    s->arrived(whom, std::move(answer));
                });
            });
        if (alive) ++state_->missing;
    }
    void done() noexcept {
        env().home.timers().cancel(*this);
        wake();
    }
    void leave() noexcept {
        if (state_ != nullptr && state_->waits == this) {
            state_->waits = nullptr;
            env().home.timers().cancel(*this);
        }
    }
    void on_timer() noexcept override {
        state_->waits = nullptr;
        wake();
    }

    service& service_;
    std::function<T(reactor&)> ask_;
    std::chrono::nanoseconds limit_;
    std::shared_ptr<state> state_;
    bool cancelled_ = false;
};

}  // namespace detail

//! Calls `ask(reactor&)` on each reactor of the service, between two turns, and gives what they
//! returned, by index. Completes when all have answered, or after `limit`: nothing then for those
//! that have ended or whose turn takes long. To be awaited on a reactor of the service; `ask` is
//! copied to all of them and must not throw. Cancelled: ECANCELED; late answers are thrown away.
//! Allocates.
template <class F>
auto gather(service& all, F ask, std::chrono::nanoseconds limit) {
    using answer = std::invoke_result_t<F&, reactor&>;
    return detail::gather_awaiter<answer>{all, std::move(ask), limit};
}

}  // namespace sluice
