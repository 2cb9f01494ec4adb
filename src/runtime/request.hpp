// SPDX-License-Identifier: Apache-2.0
//! The plainest operation: one request with one answer, which a coroutine waits for.
#pragma once

#include <cerrno>
#include <coroutine>
#include <cstdint>

#include "runtime/operation.hpp"
#include "runtime/reactor_io.hpp"
#include "sluice/awaitable.hpp"

namespace sluice::detail {

//! A one-shot request, on the ring of the reactor that awaits it. A stop asks the kernel to cancel
//! it and waits for the answer: what the request refers to may go as soon as this completes. Gives
//! the result or -errno.
class request : public waiter, protected operation {
public:
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (env.stop.stop_requested()) {
            answer_ = -ECANCELED;
            yield(h, env);
            return true;
        }
        wait(h, env);
        env.home.io().submit(*this);
        return true;
    }
    int await_resume() const noexcept { return answer_; }
    void on_stop() noexcept override { env().home.io().cancel(*this); }

protected:
    explicit request(prepare_function prepare) noexcept : operation(prepare, complete) {}
    ~request() = default;

private:
    static void complete(operation& op, std::int32_t result, std::uint32_t) noexcept {
        auto& self = static_cast<request&>(op);
        // A request that a worker thread carried out is interrupted instead of cancelled.
        self.answer_ = self.cancelling() && result == -EINTR ? -ECANCELED : result;
        self.wake();
    }
    int answer_ = 0;
};

}  // namespace sluice::detail
