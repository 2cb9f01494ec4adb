// SPDX-License-Identifier: Apache-2.0
//! Connections between the reactor under test and a blocking socket, and threads for the latter.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <thread>
#include <utility>

#include "loopback/plain_socket.hpp"
#include "sluice/listener.hpp"
#include "sluice/task.hpp"
#include "sluice/tcp_stream.hpp"
#include "sluice/timeout.hpp"

namespace sluice::testing {

//! Both ends of a connection.
struct wire {
    tcp_stream stream;
    plain_socket peer;
};

//! Connects a stream to a blocking socket. `receive_buffer`: of the peer, in bytes, 0: the
//! kernel's.
task<wire> make_wire(int receive_buffer = 0);

//! The same over a Unix socket.
task<wire> make_unix_wire();

//! The same with a stream that was accepted instead of connected.
task<wire> make_accepted_wire();

//! Two streams of the same reactor.
struct stream_pair {
    tcp_stream left;
    tcp_stream right;
};
task<stream_pair> make_pair();

//! A thread with a blocking peer. What escapes from its function is thrown by join() or finished().
class peer_thread {
public:
    template <class F>
    explicit peer_thread(F fn) : state_(std::make_unique<state>()) {
        thread_ = std::thread([s = state_.get(), fn = std::move(fn)]() mutable {
            try {
                fn();
            } catch (...) {
                s->escaped = std::current_exception();
            }
            s->done.store(true, std::memory_order_release);
        });
    }
    peer_thread(peer_thread&&) noexcept = default;
    peer_thread& operator=(peer_thread&&) = delete;
    ~peer_thread() {
        if (thread_.joinable()) thread_.join();
    }

    [[nodiscard]] bool done() const noexcept {
        return state_->done.load(std::memory_order_acquire);
    }

    void join() {
        thread_.join();
        if (state_->escaped) std::rethrow_exception(state_->escaped);
    }

    //! Waits for its end while the reactor goes on.
    task<> finished() {
        while (!done()) static_cast<void>(co_await sleep_for(std::chrono::milliseconds(1)));
        join();
    }

private:
    struct state {
        std::atomic<bool> done{false};
        std::exception_ptr escaped;
    };
    std::unique_ptr<state> state_;
    std::thread thread_;
};

//! Waits until `condition()` holds, up to 20 seconds; gives whether it does.
template <class F>
task<bool> until(F condition) {
    for (int i = 0; i < 20'000 && !condition(); ++i)
        static_cast<void>(co_await sleep_for(std::chrono::milliseconds(1)));
    co_return condition();
}

//! Lets the reactor look at its ring a few times.
inline task<> some_turns() { static_cast<void>(co_await sleep_for(std::chrono::milliseconds(5))); }

}  // namespace sluice::testing
