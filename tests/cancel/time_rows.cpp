// SPDX-License-Identifier: Apache-2.0
// What a timer completes. A cancelled one has disarmed it: timers are counted at the end of each
// cell.

#include "cancel/cell.hpp"
#include "sluice/event.hpp"
#include "sluice/idle_timer.hpp"
#include "sluice/retry.hpp"

using namespace std::chrono_literals;

namespace sluice::testing {

namespace {

//! In the races the time is short, and complete() waits for its end and calls the timers: no turn
//! begins meanwhile, which would do so itself.
class timed : public subject {
public:
    using subject::subject;
    task<> set_up(phase p) override {
        if (p == phase::stop_first || p == phase::completion_first) time_ = soon;
        begun_ = stage_.home().now();
        co_return;
    }
    void complete() override {
        if (time_ != soon) return;
        const std::int64_t due = stage_.below().now() + time_.count();
        while (stage_.below().now() < due) {}
        stage_.home().update_time();
        stage_.home().timers().expire(stage_.below().now());
    }
    task<> check(bool cancelled) override {
        CHECK(done_ != cancelled);
        if (!cancelled) CHECK(stage_.home().now() - begun_ >= soon);
        CHECK(stage_.home().stats().live_timers == 0);
        co_return;
    }

protected:
    static constexpr std::chrono::nanoseconds soon = 100us;

    std::chrono::nanoseconds time_ = 1h;
    reactor::clock::time_point begun_;
    bool done_ = false;
};

class sleeps_for final : public timed {
public:
    using timed::timed;
    task<result<void>> operate() override {
        auto slept = co_await sleep_for(time_);
        done_ = slept.has_value();
        co_return slept;
    }
};

class sleeps_until final : public timed {
public:
    using timed::timed;
    task<result<void>> operate() override {
        auto slept = co_await sleep_until(stage_.home().now() + time_);
        done_ = slept.has_value();
        co_return slept;
    }
};

//! Gives error::timeout when the time comes first.
class times_out final : public timed {
public:
    using timed::timed;
    task<result<void>> operate() override {
        auto waited = co_await with_timeout(time_, never_.wait());
        done_ = waited.has_error() && waited.error() == error::timeout;
        co_return waited;
    }

private:
    event never_;
};

class deadline_passes final : public timed {
public:
    using timed::timed;
    task<result<void>> operate() override {
        auto waited = co_await with_deadline(stage_.home().now() + time_, never_.wait());
        done_ = waited.has_error() && waited.error() == error::timeout;
        co_return waited;
    }

private:
    event never_;
};

//! The timer of the guard goes with the idle_timer.
class falls_idle final : public timed {
public:
    using timed::timed;
    task<result<void>> operate() override {
        idle_timer idle(time_);
        auto waited = co_await idle.guard(never_.wait());
        done_ = waited.has_error() && waited.error() == error::timeout;
        if (done_) CHECK(idle.expired());
        co_return waited;
    }

private:
    event never_;
};

//! In the pause after an attempt that has failed.
class retries final : public timed {
public:
    using timed::timed;
    task<result<void>> operate() override {
        retry_policy policy;
        policy.first_pause = time_;
        policy.jitter = 0;
        auto tried = co_await retry(policy, [this] { return attempt(); });
        done_ = tried.has_value();
        co_return tried;
    }
    task<> check(bool cancelled) override {
        CHECK(attempts_ == (done_ ? 2 : 1));
        if (done_) co_await timed::check(cancelled);
        CHECK(stage_.home().stats().live_timers == 0);
    }

private:
    task<result<void>> attempt() {
        if (++attempts_ == 1) co_return error::timeout;
        co_return result<void>{};
    }
    int attempts_ = 0;
};

// The attempt's own error, and no second attempt.
constexpr endings gives_attempt{ending::completed, ending::completed, ending::cancelled,
                                ending::cancelled, ending::completed};

const row rows[] = {
    {"sleep_for", made<sleeps_for>, withdraws, source::clock},
    {"sleep_until", made<sleeps_until>, withdraws, source::clock},
    {"with_timeout: its time", made<times_out>, withdraws, source::clock},
    {"with_deadline: its time", made<deadline_passes>, withdraws, source::clock},
    {"idle_timer::guard: its time", made<falls_idle>, withdraws, source::clock},
    {"retry", made<retries>, gives_attempt, source::clock},
};

}  // namespace

std::span<const row> time_rows() { return rows; }

}  // namespace sluice::testing
