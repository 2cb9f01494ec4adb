// SPDX-License-Identifier: Apache-2.0
//! A bounded queue of values between the coroutines of one reactor.
#pragma once

#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "sluice/result.hpp"
#include "sluice/wait_line.hpp"

namespace sluice {

//! send() waits when it is full, recv() when it is empty; both first come, first served, and values
//! come out in the order they went in. Any number of senders and receivers; not movable. Whoever
//! waits moves its value when it resumes and not before: a wait that is cancelled, or destroyed
//! after it was woken, has moved none, and the next in line is woken instead. Destroying the
//! channel while coroutines wait in it ends the program; those that close() has woken no longer
//! need it.
template <class T>
class channel {
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "a value must not get lost on its way: its move must not throw");

public:
    class recv_awaiter;
    class send_awaiter;
    class owning_send_awaiter;

    //! Room for `capacity` values is allocated here. Throws std::invalid_argument for 0.
    explicit channel(std::size_t capacity) : capacity_(capacity) {
        if (capacity == 0)
            throw std::invalid_argument("sluice: a channel needs room for one value");
        slots_ = std::make_unique<std::optional<T>[]>(capacity);
    }
    channel(const channel&) = delete;
    channel& operator=(const channel&) = delete;

    //! Sends `value`, which the await owns: with a send that fails it is destroyed. Gives
    //! result<void>: error::channel_closed; cancelled: ECANCELED, and it was not sent. Does not
    //! allocate.
    owning_send_awaiter send(T value) noexcept { return {*this, std::move(value)}; }

    //! Sends a value of the caller's, which must stay where it is until the await has ended: with a
    //! send that fails it is untouched.
    send_awaiter send_from(T& value) noexcept { return {*this, &value}; }

    //! Receives the next value. Gives result<T>: error::channel_closed when the channel is closed
    //! and all that was sent before has been received; cancelled: ECANCELED, and no value was
    //! taken. Does not allocate.
    recv_awaiter recv() noexcept { return recv_awaiter{*this}; }

    //! Sends at once or fails, with `value` untouched: EAGAIN when the channel is full or others
    //! wait to send, error::channel_closed.
    result<void> try_send(T&& value) noexcept {
        if (closed_) return error::channel_closed;
        if (!senders_.empty() || !has_room()) return errno_error(EAGAIN);
        push(std::move(value));
        return {};
    }

    //! Receives at once or fails: EAGAIN when there is no value that is not for one who waits,
    //! error::channel_closed.
    result<T> try_recv() noexcept {
        if (has_value()) return pop();
        if (closed_ && size_ == 0) return detail::error_result<T>(error::channel_closed);
        return detail::error_result<T>(errno_error(EAGAIN));
    }

    //! Nothing can be sent any more; what has been sent can still be received. May be repeated.
    void close() noexcept {
        closed_ = true;
        senders_.release_all();
        serve_receivers();
    }

    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

private:
    //! Not counting what is set aside for those who were woken and have not run yet.
    [[nodiscard]] bool has_room() const noexcept { return size_ + reserved_ < capacity_; }
    [[nodiscard]] bool has_value() const noexcept { return size_ > promised_; }

    void push(T&& value) noexcept {
        slots_[(front_ + size_) % capacity_].emplace(std::move(value));
        ++size_;
        serve_receivers();
    }

    T pop() noexcept {
        std::optional<T>& slot = slots_[front_];
        T value = std::move(*slot);
        slot.reset();
        front_ = (front_ + 1) % capacity_;
        --size_;
        serve_senders();
        if (closed_ && size_ == 0) receivers_.release_all();
        return value;
    }

    void serve_receivers() noexcept {
        while (receivers_.first() != nullptr && has_value()) {
            ++promised_;
            receivers_.grant_first();
        }
        if (closed_ && size_ == 0) receivers_.release_all();
    }

    void serve_senders() noexcept {
        while (senders_.first() != nullptr && has_room()) {
            ++reserved_;
            senders_.grant_first();
        }
    }

    std::size_t capacity_;
    std::unique_ptr<std::optional<T>[]> slots_;
    std::size_t front_ = 0;
    std::size_t size_ = 0;
    std::size_t promised_ = 0;  // values for receivers that were granted one
    std::size_t reserved_ = 0;  // room for senders that were granted it
    bool closed_ = false;
    detail::wait_line receivers_{"channel"};
    detail::wait_line senders_{"channel"};
};

template <class T>
class [[nodiscard]] channel<T>::recv_awaiter final : public detail::wait_node {
public:
    explicit recv_awaiter(channel& c) noexcept : channel_(c) {}
    recv_awaiter(recv_awaiter&&) = default;
    ~recv_awaiter() {
        if (!take_grant()) return;
        --channel_.promised_;
        channel_.serve_receivers();
    }

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (ends_cancelled(h, env)) return true;
        if (channel_.receivers_.first() == nullptr && channel_.has_value()) {
            ++channel_.promised_;
            channel_.receivers_.admit(*this);
            return false;
        }
        if (channel_.closed_ && channel_.size_ == 0) return false;
        channel_.receivers_.enter(*this, h, env);
        return true;
    }
    result<T> await_resume() noexcept {
        if (cancelled()) return detail::error_result<T>(cancelled_error());
        if (!take_grant()) return detail::error_result<T>(error::channel_closed);
        --channel_.promised_;
        return channel_.pop();
    }
    void on_stop() noexcept override { withdraw(); }

private:
    channel& channel_;
};

template <class T>
class [[nodiscard]] channel<T>::send_awaiter : public detail::wait_node {
public:
    send_awaiter(channel& c, T* value) noexcept : channel_(c), value_(value) {}
    send_awaiter(send_awaiter&&) = default;
    ~send_awaiter() {
        if (!take_grant()) return;
        --channel_.reserved_;
        channel_.serve_senders();
    }

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (ends_cancelled(h, env)) return true;
        if (channel_.closed_) return false;
        if (channel_.senders_.first() == nullptr && channel_.has_room()) {
            ++channel_.reserved_;
            channel_.senders_.admit(*this);
            return false;
        }
        channel_.senders_.enter(*this, h, env);
        return true;
    }
    result<void> await_resume() noexcept {
        if (cancelled()) return cancelled_error();
        if (!take_grant()) return error::channel_closed;
        --channel_.reserved_;
        if (channel_.closed_) return error::channel_closed;
        channel_.push(std::move(*value_));
        return {};
    }
    void on_stop() noexcept override { withdraw(); }

protected:
    //! After a move of the awaiter that owns the value.
    void refer_to(T& value) noexcept { value_ = &value; }

private:
    channel& channel_;
    T* value_;
};

template <class T>
class [[nodiscard]] channel<T>::owning_send_awaiter final : public send_awaiter {
public:
    owning_send_awaiter(channel& c, T&& value) noexcept
        : send_awaiter(c, nullptr), owned_(std::move(value)) {
        this->refer_to(owned_);
    }
    owning_send_awaiter(owning_send_awaiter&& o) noexcept
        : send_awaiter(std::move(o)), owned_(std::move(o.owned_)) {
        this->refer_to(owned_);
    }

private:
    T owned_;
};

}  // namespace sluice
