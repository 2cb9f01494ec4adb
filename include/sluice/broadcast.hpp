// SPDX-License-Identifier: Apache-2.0
//! Values that every subscriber on a reactor receives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "sluice/frame_pool.hpp"
#include "sluice/result.hpp"
#include "sluice/wait_line.hpp"

namespace sluice {

//! What happens when a value is sent and a subscriber has not yet received `capacity` others.
enum class on_overflow {
    wait,  //!< the sender waits for the slowest
    lag,   //!< the oldest value goes; who has not received it is told how many it has lost
};

struct broadcast_options {
    std::size_t capacity = 64;  //!< values kept for those that have not received them yet
    on_overflow policy = on_overflow::wait;
};

template <class T>
class broadcast;

namespace detail {

template <class T>
struct subscriber {
    broadcast<T>* source;  // null: it has been destroyed
    std::uint64_t next;    // number of the value that is received next
    std::uint64_t lost = 0;
    subscriber* before = nullptr;
    subscriber* after = nullptr;
    wait_line line{"subscription"};
};

}  // namespace detail

//! Receives what is sent after it was made. Move-only; not to be destroyed while its recv() waits.
template <class T>
class [[nodiscard]] subscription {
public:
    class recv_awaiter;

    subscription() = default;
    subscription(subscription&& o) noexcept : node_(std::exchange(o.node_, nullptr)) {}
    subscription& operator=(subscription o) noexcept {
        std::swap(node_, o.node_);
        return *this;
    }
    ~subscription() { drop(); }

    //! Waits for the next value. Gives result<T>; error::lagged, once, when values were lost since
    //! the last one: lost() says how many, and the next recv() goes on with the oldest that is
    //! left; error::channel_closed when the broadcast is closed and all has been received, or is
    //! gone; cancelled: ECANCELED, and nothing was taken. One at a time: throws std::logic_error
    //! for a second one. Does not allocate, but for what copying a T allocates.
    recv_awaiter recv() noexcept { return recv_awaiter{node_}; }

    //! Values lost so far, of those that error::lagged has reported.
    [[nodiscard]] std::uint64_t lost() const noexcept { return node_ == nullptr ? 0 : node_->lost; }

private:
    friend class broadcast<T>;
    explicit subscription(detail::subscriber<T>& n) noexcept : node_(&n) {}
    void drop() noexcept;
    detail::subscriber<T>* node_ = nullptr;
};

//! One ring of values for all subscribers of one reactor: each has a place in it, and a value goes
//! when all have received it. T is copied to each, or shared where it has a share() like rx_buffer;
//! the last one gets the value itself. Not movable. When it is destroyed, subscriptions are closed,
//! with what they had not received; senders that wait then end the program.
template <class T>
class broadcast {
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "a value must not get lost on its way: its move must not throw");

public:
    class send_awaiter;

    //! Throws std::invalid_argument for a capacity of 0.
    explicit broadcast(broadcast_options options = {}) : options_(options) {
        if (options.capacity == 0)
            throw std::invalid_argument("sluice: a broadcast needs room for one value");
        slots_ = std::make_unique<slot[]>(options.capacity);
    }
    broadcast(const broadcast&) = delete;
    broadcast& operator=(const broadcast&) = delete;
    ~broadcast() {
        close();
        while (first_ != nullptr) detach(*first_);
    }

    //! Throws std::bad_alloc.
    subscription<T> subscribe() {
        static_assert(alignof(detail::subscriber<T>) <= 16);
        auto* n = new (detail::frame_pool::allocate(sizeof(detail::subscriber<T>)))
            detail::subscriber<T>{this, end_};
        n->after = first_;
        if (first_ != nullptr) first_->before = n;
        first_ = n;
        ++subscribers_;
        return subscription<T>{*n};
    }

    //! Sends to all that are subscribed when it is sent, at once with on_overflow::lag. Gives
    //! result<std::size_t>, how many that were; error::channel_closed; cancelled: ECANCELED, and
    //! nothing was sent. Senders that wait are first come, first served. Does not allocate.
    send_awaiter send(T value) noexcept { return {*this, std::move(value)}; }

    //! Nothing can be sent any more; what has been sent can still be received.
    void close() noexcept {
        closed_ = true;
        senders_.release_all();
        for (auto* n = first_; n != nullptr; n = n->after) n->line.release_all();
    }

    [[nodiscard]] std::size_t subscribers() const noexcept { return subscribers_; }
    //! Values that went before a subscriber had received them, one for each subscriber.
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }
    //! Sends that had to wait for a subscriber.
    [[nodiscard]] std::uint64_t waits() const noexcept { return waits_; }

private:
    friend class subscription<T>;

    struct slot {
        std::optional<T> value;
        std::size_t unread = 0;  // subscribers that have not received it
    };
    [[nodiscard]] slot& slot_of(std::uint64_t n) noexcept { return slots_[n % options_.capacity]; }

    [[nodiscard]] bool has_room() const noexcept {
        return options_.policy == on_overflow::lag ||
               end_ - oldest_ + reserved_ < options_.capacity;
    }

    std::size_t push(T&& value) noexcept {
        if (subscribers_ == 0) return 0;
        if (end_ - oldest_ == options_.capacity) {
            slot& oldest = slot_of(oldest_++);
            lost_ += oldest.unread;
            oldest.value.reset();
        }
        slot& s = slot_of(end_++);
        s.value.emplace(std::move(value));
        s.unread = subscribers_;
        for (auto* n = first_; n != nullptr; n = n->after)
            if (n->line.first() != nullptr) n->line.grant_first();
        return subscribers_;
    }

    result<T> receive(detail::subscriber<T>& n) {
        if (n.next < oldest_) {
            n.lost += oldest_ - n.next;
            n.next = oldest_;
            return detail::error_result<T>(error::lagged);
        }
        if (n.next == end_) return detail::error_result<T>(error::channel_closed);
        slot& s = slot_of(n.next);
        result<T> got = s.unread == 1 ? std::move(*s.value) : duplicate(*s.value);
        ++n.next;
        has_read(s);
        return got;
    }

    static T duplicate(const T& value) {
        if constexpr (std::is_copy_constructible_v<T>)
            return value;
        else
            return value.share();
    }

    void has_read(slot& s) noexcept {
        if (--s.unread != 0) return;
        s.value.reset();
        while (oldest_ != end_ && slot_of(oldest_).unread == 0) ++oldest_;
        serve_senders();
    }

    void serve_senders() noexcept {
        while (senders_.first() != nullptr && has_room()) {
            ++reserved_;
            senders_.grant_first();
        }
    }

    //! The subscriber receives nothing any more, and counts as having received what there is.
    void detach(detail::subscriber<T>& n) noexcept {
        (n.before != nullptr ? n.before->after : first_) = n.after;
        if (n.after != nullptr) n.after->before = n.before;
        --subscribers_;
        n.source = nullptr;
        for (auto i = n.next < oldest_ ? oldest_ : n.next; i != end_; ++i) has_read(slot_of(i));
    }

    broadcast_options options_;
    std::unique_ptr<slot[]> slots_;
    std::uint64_t oldest_ = 0;  // number of the oldest value kept
    std::uint64_t end_ = 0;     // number of the next value sent
    std::size_t reserved_ = 0;  // room for senders that were granted it
    bool closed_ = false;
    detail::subscriber<T>* first_ = nullptr;
    std::size_t subscribers_ = 0;
    std::uint64_t lost_ = 0;
    std::uint64_t waits_ = 0;
    detail::wait_line senders_{"broadcast"};
};

template <class T>
void subscription<T>::drop() noexcept {
    if (node_ == nullptr) return;
    auto* n = std::exchange(node_, nullptr);
    if (n->source != nullptr) n->source->detach(*n);
    n->~subscriber();
    detail::frame_pool::deallocate(n);
}

template <class T>
class [[nodiscard]] subscription<T>::recv_awaiter final : public detail::wait_node {
public:
    explicit recv_awaiter(detail::subscriber<T>* n) noexcept : node_(n) {}

    bool await_ready() const noexcept {
        if (node_ == nullptr || node_->source == nullptr) return true;
        if (!node_->line.empty()) return false;
        return node_->next != node_->source->end_ || node_->source->closed_;
    }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) {
        if (ends_cancelled(h, env)) return true;
        if (await_ready()) return false;
        if (!node_->line.empty())
            throw std::logic_error("sluice: two receives on one subscription at the same time");
        node_->line.enter(*this, h, env);
        return true;
    }
    result<T> await_resume() {
        if (cancelled()) return detail::error_result<T>(cancelled_error());
        static_cast<void>(take_grant());
        if (node_ == nullptr || node_->source == nullptr)
            return detail::error_result<T>(error::channel_closed);
        return node_->source->receive(*node_);
    }
    void on_stop() noexcept override { this->withdraw(); }

private:
    detail::subscriber<T>* node_;
};

template <class T>
class [[nodiscard]] broadcast<T>::send_awaiter final : public detail::wait_node {
public:
    send_awaiter(broadcast& b, T&& value) noexcept : broadcast_(b), value_(std::move(value)) {}
    send_awaiter(send_awaiter&&) = default;
    ~send_awaiter() {
        if (!take_grant()) return;
        --broadcast_.reserved_;
        broadcast_.serve_senders();
    }

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (ends_cancelled(h, env)) return true;
        if (broadcast_.closed_) return false;
        if (broadcast_.senders_.first() == nullptr && broadcast_.has_room()) {
            ++broadcast_.reserved_;
            broadcast_.senders_.admit(*this);
            return false;
        }
        ++broadcast_.waits_;
        broadcast_.senders_.enter(*this, h, env);
        return true;
    }
    result<std::size_t> await_resume() noexcept {
        if (cancelled()) return cancelled_error();
        if (!take_grant()) return error::channel_closed;
        --broadcast_.reserved_;
        if (broadcast_.closed_) return error::channel_closed;
        const std::size_t reached = broadcast_.push(std::move(value_));
        if (reached == 0) broadcast_.serve_senders();  // the room was not used
        return reached;
    }
    void on_stop() noexcept override { this->withdraw(); }

private:
    broadcast& broadcast_;
    T value_;
};

}  // namespace sluice
