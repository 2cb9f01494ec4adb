// SPDX-License-Identifier: Apache-2.0
// The primitives of one reactor. A cancelled wait has taken nothing: value, permit, notification.

#include <memory>

#include "cancel/cell.hpp"
#include "sluice/broadcast.hpp"
#include "sluice/channel.hpp"
#include "sluice/condition.hpp"
#include "sluice/event.hpp"
#include "sluice/latch.hpp"
#include "sluice/mutex.hpp"
#include "sluice/oneshot.hpp"
#include "sluice/semaphore.hpp"

namespace sluice::testing {

namespace {

//! Values can't be copied, so that one is in one place.
using token = std::unique_ptr<int>;
token make_token(int n) { return std::make_unique<int>(n); }
int value_of(const result<token>& t) { return t && *t ? **t : 0; }

class waits_for_event final : public subject {
public:
    using subject::subject;
    void complete() override { event_.set(); }
    task<result<void>> operate() override { co_return co_await event_.wait(); }
    task<> check(bool) override {
        CHECK(event_.is_set());
        auto again = co_await event_.wait();
        CHECK(again.has_value());
    }

private:
    event event_;
};

class waits_for_latch final : public subject {
public:
    using subject::subject;
    void complete() override { latch_.count_down(); }
    task<result<void>> operate() override { co_return co_await latch_.wait(); }
    task<> check(bool) override {
        CHECK(latch_.try_wait());
        auto again = co_await latch_.wait();
        CHECK(again.has_value());
    }

private:
    latch latch_{1};
};

//! A wait that is cancelled has counted all the same.
class arrives_at_latch final : public subject {
public:
    using subject::subject;
    void complete() override { latch_.count_down(); }
    task<result<void>> operate() override { co_return co_await latch_.arrive_and_wait(); }
    task<> check(bool) override {
        CHECK(latch_.left() == 0);
        co_return;
    }

private:
    latch latch_{2};
};

class locks final : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        held_ = mutex_.try_lock();
        co_return;
    }
    void complete() override { held_.unlock(); }
    task<result<void>> operate() override {
        auto lock = co_await mutex_.lock();
        if (lock) mine_ = std::move(*lock);
        co_return outcome_of(lock);
    }
    task<> check(bool cancelled) override {
        CHECK(mine_.owns_lock() != cancelled);
        CHECK(static_cast<bool>(mutex_.try_lock()) == cancelled);
        mine_.unlock();
        CHECK(static_cast<bool>(mutex_.try_lock()));
        co_return;
    }

private:
    mutex mutex_;
    mutex_lock held_;
    mutex_lock mine_;
};

//! Somebody with a small request stands behind the big one.
class acquires final : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        held_ = semaphore_.try_acquire(2);
        co_return;
    }
    void complete() override { held_.release(); }
    task<result<void>> operate() override {
        stage_.let([this]() -> task<> {
            auto one = co_await semaphore_.acquire(1);
            CHECK(one.has_value());
        });
        auto permits = co_await semaphore_.acquire(3);
        if (permits) mine_ = std::move(*permits);
        co_return outcome_of(permits);
    }
    task<> check(bool cancelled) override {
        CHECK(mine_.count() == (cancelled ? 0 : 3));
        mine_.release();
        co_await stage_.helpers().join();
        CHECK(semaphore_.available() == 3);
    }

private:
    semaphore semaphore_{3};
    semaphore_permit held_;
    semaphore_permit mine_;
};

//! Of two that wait one is notified: the second when the first was cancelled before.
class waits_for_notification final : public subject {
public:
    using subject::subject;
    void complete() override { condition_.notify_one(); }
    task<result<void>> operate() override {
        stage_.let([this]() -> task<> {
            auto waited = co_await condition_.wait();
            CHECK(waited.has_value());
            ++notified_;
        });
        auto waited = co_await condition_.wait();
        if (waited) ++notified_;
        co_return waited;
    }
    task<> check(bool cancelled) override {
        // Nobody hears of a notification that comes before the wait.
        if (!cancelled || notified_ != 0) CHECK(notified_ == 1);
        condition_.notify_all();
        co_await stage_.helpers().join();
        CHECK(notified_ == (cancelled ? 1 : 2));
    }

private:
    condition condition_;
    int notified_ = 0;
};

class waits_for_state final : public subject {
public:
    using subject::subject;
    void complete() override {
        holds_ = true;
        condition_.notify_one();
    }
    task<result<void>> operate() override {
        auto waited = co_await condition_.wait([this] { return holds_; });
        co_return waited;
    }
    task<> check(bool) override {
        auto again = co_await condition_.wait([this] { return holds_; });
        CHECK(again.has_value());
    }

private:
    condition condition_;
    bool holds_ = false;
};

class receives_oneshot final : public subject {
public:
    using subject::subject;
    void complete() override { CHECK(shot_.sender.send(make_token(7))); }
    task<result<void>> operate() override {
        got_ = co_await shot_.receiver.recv();
        co_return outcome_of(got_);
    }
    task<> check(bool cancelled) override {
        if (cancelled) got_ = co_await shot_.receiver.recv();  // the value has waited
        CHECK(value_of(got_) == 7);
        CHECK(shot_.receiver.try_recv().error() == error::channel_closed);
    }

private:
    oneshot<token> shot_;
    result<token> got_ = token{};
};

class receives_from_channel final : public subject {
public:
    using subject::subject;
    void complete() override { CHECK(channel_.try_send(make_token(7))); }
    task<result<void>> operate() override {
        got_ = co_await channel_.recv();
        co_return outcome_of(got_);
    }
    task<> check(bool cancelled) override {
        CHECK(channel_.size() == (cancelled ? 1 : 0));
        if (cancelled) got_ = channel_.try_recv();
        CHECK(value_of(got_) == 7);
        CHECK(channel_.try_send(make_token(8)));
        CHECK(value_of(channel_.try_recv()) == 8);
        co_return;
    }

private:
    channel<token> channel_{1};
    result<token> got_ = token{};
};

//! The channel is full; the value that is not sent is still the caller's.
class sends_to_channel final : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        CHECK(channel_.try_send(make_token(1)));
        co_return;
    }
    void complete() override { CHECK(value_of(channel_.try_recv()) == 1); }
    task<result<void>> operate() override { co_return co_await channel_.send_from(mine_); }
    task<> check(bool cancelled) override {
        CHECK(static_cast<bool>(mine_) == cancelled);
        CHECK(channel_.size() == (cancelled ? 0 : 1));
        if (cancelled) CHECK(channel_.try_send(make_token(2)));  // its room is free
        CHECK(value_of(channel_.try_recv()) == 2);
        co_return;
    }

private:
    channel<token> channel_{1};
    token mine_ = make_token(2);
};

//! The same with a value that the await owns.
class gives_to_channel final : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        CHECK(channel_.try_send(make_token(1)));
        co_return;
    }
    void complete() override { CHECK(value_of(channel_.try_recv()) == 1); }
    task<result<void>> operate() override { co_return co_await channel_.send(make_token(2)); }
    task<> check(bool cancelled) override {
        CHECK(channel_.size() == (cancelled ? 0 : 1));
        if (cancelled) CHECK(channel_.try_send(make_token(2)));
        CHECK(value_of(channel_.try_recv()) == 2);
        co_return;
    }

private:
    channel<token> channel_{1};
};

class receives_broadcast final : public subject {
public:
    using subject::subject;
    void complete() override {
        stage_.let([this]() -> task<> {
            auto reached = co_await source_.send(7);
            CHECK(reached.has_value());
            if (reached) CHECK(*reached == 2);
        });
    }
    task<result<void>> operate() override {
        got_ = co_await subscription_.recv();
        co_return outcome_of(got_);
    }
    task<> check(bool cancelled) override {
        if (cancelled) got_ = co_await subscription_.recv();
        CHECK(got_.value() == 7);
        auto others = co_await other_.recv();
        CHECK(others.value() == 7);
    }

private:
    broadcast<int> source_{{.capacity = 1}};
    subscription<int> subscription_ = source_.subscribe();
    subscription<int> other_ = source_.subscribe();
    result<int> got_ = 0;
};

//! The subscriber has a value to receive, and there is room for one.
class sends_broadcast final : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        auto sent = co_await source_.send(1);
        CHECK(sent.has_value());
    }
    void complete() override {
        stage_.let([this]() -> task<> {
            auto first = co_await subscription_.recv();
            CHECK(first.value() == 1);
        });
    }
    task<result<void>> operate() override {
        auto sent = co_await source_.send(2);
        co_return outcome_of(sent);
    }
    task<> check(bool cancelled) override {
        if (cancelled) {  // it was not sent, and its room is free
            auto sent = co_await source_.send(3);
            CHECK(sent.has_value());
        }
        auto next = co_await subscription_.recv();
        CHECK(next.value() == (cancelled ? 3 : 2));
    }

private:
    broadcast<int> source_{{.capacity = 1}};
    subscription<int> subscription_ = source_.subscribe();
};

// "Unless it is true already", which is asked first.
constexpr endings asks_first{ending::cancelled, ending::completed, ending::cancelled,
                             ending::cancelled, ending::completed};

const row rows[] = {
    {"event::wait", made<waits_for_event>, withdraws, source::here},
    {"latch::wait", made<waits_for_latch>, withdraws, source::here},
    {"latch::arrive_and_wait", made<arrives_at_latch>, withdraws, source::here},
    {"mutex::lock", made<locks>, withdraws, source::here},
    {"semaphore::acquire", made<acquires>, withdraws, source::here},
    {"condition::wait", made<waits_for_notification>, withdraws, source::here},
    {"condition::wait(predicate)", made<waits_for_state>, asks_first, source::here},
    {"oneshot_receiver::recv", made<receives_oneshot>, withdraws, source::here},
    {"channel::recv", made<receives_from_channel>, withdraws, source::here},
    {"channel::send", made<gives_to_channel>, withdraws, source::here},
    {"channel::send_from", made<sends_to_channel>, withdraws, source::here},
    // Its complete() is a coroutine, which runs first.
    {"subscription::recv", made<receives_broadcast>, withdraws, source::here, 1},
    {"broadcast::send", made<sends_broadcast>, withdraws, source::here, 1},
};

}  // namespace

std::span<const row> primitive_rows() { return rows; }

}  // namespace sluice::testing
