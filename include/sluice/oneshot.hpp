// SPDX-License-Identifier: Apache-2.0
//! One value from one coroutine to another on the same reactor.
#pragma once

#include <cerrno>
#include <new>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "sluice/frame_pool.hpp"
#include "sluice/result.hpp"
#include "sluice/wait_line.hpp"

namespace sluice {
namespace detail {

//! What the two halves share: a block of the frame pool, which goes with the second of them.
template <class T>
struct oneshot_state {
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "a value must not get lost on its way: its move must not throw");

    static oneshot_state* make() {
        static_assert(alignof(oneshot_state) <= 16);
        return new (frame_pool::allocate(sizeof(oneshot_state))) oneshot_state;
    }
    void drop_if_unused() noexcept {
        if (sender || receiver) return;
        this->~oneshot_state();
        frame_pool::deallocate(this);
    }

    std::optional<T> value;
    bool sender = true;  // whether that half is there
    bool receiver = true;
    wait_line line{"oneshot"};
};

}  // namespace detail

template <class T>
struct oneshot;

//! The half that sends, once. Move-only; dropped without having sent, it gives the receiver
//! error::channel_closed.
template <class T>
class [[nodiscard]] oneshot_sender {
public:
    oneshot_sender() = default;
    oneshot_sender(oneshot_sender&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
    oneshot_sender& operator=(oneshot_sender&& o) noexcept {
        if (this != &o) {
            drop();
            state_ = std::exchange(o.state_, nullptr);
        }
        return *this;
    }
    ~oneshot_sender() { drop(); }

    //! Hands over the value; never waits. error::channel_closed, with `value` untouched, when the
    //! receiver is gone. A receiver whose wait was cancelled is still there and can receive later.
    //! Throws std::logic_error when this half is empty or has sent.
    result<void> send(T&& value) {
        if (state_ == nullptr) throw std::logic_error("sluice: a oneshot sends once");
        if (!state_->receiver) return error::channel_closed;
        state_->value.emplace(std::move(value));
        drop();
        return {};
    }

    //! Whether somebody can still receive.
    [[nodiscard]] bool wanted() const noexcept { return state_ != nullptr && state_->receiver; }

private:
    friend struct oneshot<T>;
    explicit oneshot_sender(detail::oneshot_state<T>& s) noexcept : state_(&s) {}
    void drop() noexcept {
        if (state_ == nullptr) return;
        state_->sender = false;
        if (state_->line.first() != nullptr) state_->line.grant_first();
        std::exchange(state_, nullptr)->drop_if_unused();
    }
    detail::oneshot_state<T>* state_ = nullptr;
};

//! The half that receives. Move-only. Destroying it while its recv() waits ends the program.
template <class T>
class [[nodiscard]] oneshot_receiver {
public:
    class recv_awaiter;

    oneshot_receiver() = default;
    oneshot_receiver(oneshot_receiver&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
    oneshot_receiver& operator=(oneshot_receiver&& o) noexcept {
        if (this != &o) {
            drop();
            state_ = std::exchange(o.state_, nullptr);
        }
        return *this;
    }
    ~oneshot_receiver() { drop(); }

    //! Waits for the value. Gives result<T>: error::channel_closed when the sender was dropped, or
    //! the value was received before; cancelled: ECANCELED, and the value can still be received.
    //! One at a time: throws std::logic_error for a second one. Does not allocate.
    recv_awaiter recv() noexcept { return recv_awaiter{state_}; }

    //! The value if it is there; EAGAIN when it may still come, or is for the recv() that waits.
    result<T> try_recv() noexcept {
        if (state_ == nullptr || (!state_->value && !state_->sender))
            return detail::error_result<T>(error::channel_closed);
        if (!state_->value || !state_->line.empty())
            return detail::error_result<T>(errno_error(EAGAIN));
        return take(*state_);
    }

private:
    friend struct oneshot<T>;
    explicit oneshot_receiver(detail::oneshot_state<T>& s) noexcept : state_(&s) {}
    static result<T> take(detail::oneshot_state<T>& s) noexcept {
        result<T> value = std::move(*s.value);
        s.value.reset();
        return value;
    }
    void drop() noexcept {
        if (state_ == nullptr) return;
        if (!state_->line.empty()) detail::destroyed_in_use("oneshot", "its receiver waits");
        state_->receiver = false;
        state_->value.reset();
        std::exchange(state_, nullptr)->drop_if_unused();
    }
    detail::oneshot_state<T>* state_ = nullptr;
};

template <class T>
class [[nodiscard]] oneshot_receiver<T>::recv_awaiter final : public detail::wait_node {
public:
    explicit recv_awaiter(detail::oneshot_state<T>* s) noexcept : state_(s) {}

    bool await_ready() const noexcept {
        return state_ == nullptr || (state_->line.empty() && (state_->value || !state_->sender));
    }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        if (ends_cancelled(h, env)) return true;
        if (await_ready()) return false;
        if (!state_->line.empty())
            throw std::logic_error("sluice: two receives on one oneshot at the same time");
        state_->line.enter(*this, h, env);
        return true;
    }
    result<T> await_resume() noexcept {
        if (cancelled()) return detail::error_result<T>(cancelled_error());
        static_cast<void>(take_grant());
        if (state_ == nullptr || !state_->value)
            return detail::error_result<T>(error::channel_closed);
        return oneshot_receiver::take(*state_);
    }
    void on_stop() noexcept override { this->withdraw(); }

private:
    detail::oneshot_state<T>* state_;
};

//! Makes the two halves: `auto [sender, receiver] = oneshot<int>{};`. They belong to one reactor,
//! each goes its own way, and neither needs the other to live.
template <class T>
struct oneshot {
    oneshot() : oneshot(*detail::oneshot_state<T>::make()) {}

    oneshot_sender<T> sender;
    oneshot_receiver<T> receiver;

private:
    explicit oneshot(detail::oneshot_state<T>& s) noexcept : sender(s), receiver(s) {}
};

}  // namespace sluice
