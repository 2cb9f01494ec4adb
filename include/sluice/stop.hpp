// SPDX-License-Identifier: Apache-2.0
//! Cancellation inside one reactor: single-threaded, intrusive, free on the path that is not taken.
#pragma once

#include <utility>

namespace sluice {

class await_description;

//! Something that can be told to stop: a suspended operation, or a scope that passes the stop on.
class stop_listener {
public:
    //! Called once, on the reactor's thread, when the stop is requested. It must not resume a
    //! coroutine: it cancels an operation, or puts its coroutine on the ready list.
    virtual void on_stop() noexcept = 0;

    //! What a task dump says of the coroutine that is suspended here: by default the name of the
    //! type. Called on the reactor's thread.
    virtual void describe(await_description& into) const;

protected:
    ~stop_listener() = default;
};

//! The stop of one chain of awaits. A chain is suspended in one place at a time, so one pointer
//! reaches all that has to be told; a scope with several chains below holds one source for each.
//! Neither copyable nor movable: it lives in the frame of the scope that owns it.
class stop_source {
public:
    stop_source() = default;
    stop_source(const stop_source&) = delete;
    stop_source& operator=(const stop_source&) = delete;

    //! Asks the chain to stop. The second and later calls do nothing.
    void request_stop() noexcept {
        if (std::exchange(requested_, true)) return;
        if (current_ != nullptr) std::exchange(current_, nullptr)->on_stop();
    }

    [[nodiscard]] bool stop_requested() const noexcept { return requested_; }

    //! Registers the place the chain is suspended in. A stop that came before is not reported:
    //! look at stop_requested() first.
    void listen(stop_listener& l) noexcept {
        if (!requested_) current_ = &l;
    }

    //! Ends listen(). Harmless when the stop has come in between.
    void forget(stop_listener& l) noexcept {
        if (current_ == &l) current_ = nullptr;
    }

private:
    stop_listener* current_ = nullptr;
    bool requested_ = false;
};

//! A view of a stop_source for those who only ask. Valid while the scope that owns the source runs.
class stop_token {
public:
    stop_token() = default;
    explicit stop_token(const stop_source& source) noexcept : source_(&source) {}

    [[nodiscard]] bool stop_requested() const noexcept {
        return source_ != nullptr && source_->stop_requested();
    }

private:
    const stop_source* source_ = nullptr;
};

}  // namespace sluice
