// SPDX-License-Identifier: Apache-2.0
#include "sluice/timer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <vector>

using sluice::detail::timer_node;
using sluice::detail::timer_set;

namespace {

constexpr std::int64_t microsecond = 1'000;
constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t year = 365 * 24 * 3600 * second;

class timer final : public timer_node {
public:
    void on_timer() noexcept override {
        ++fired;
        if (then) then();
    }
    int fired = 0;
    std::function<void()> then;
};

//! A timer_set beside a multimap that says what it has to do.
class comparison {
public:
    explicit comparison(unsigned seed) : random_(seed) {
        for (int i = 0; i < 300; ++i) {
            entry& e = entries_.emplace_back();
            e.at = model_.end();
            e.node.then = [this, &e] { fired(e); };
        }
    }
    ~comparison() {
        for (entry& e : entries_) set_.cancel(e.node);
    }

    void step() {
        switch (below(10)) {
            case 0:
            case 1:
            case 2:
            case 3: insert(any()); break;
            case 4:
            case 5: cancel(any()); break;
            case 6:  // exactly when the set asks for it, as a reactor does
                if (set_.next_deadline() != timer_set::never) expire(set_.next_deadline());
                break;
            default: expire(after(time_step())); break;
        }
        compare();
    }

    //! Lets everything that has a deadline come due, following next_deadline().
    void run_out() {
        running_out_ = true;
        while (set_.next_deadline() < timer_set::never - 1) {
            expire(set_.next_deadline());
            compare();
        }
        for (const auto& [at, e] : model_) mistake_if(at < timer_set::never - 1);
    }

    [[nodiscard]] int mistakes() const noexcept { return mistakes_; }
    [[nodiscard]] std::uint64_t total_fired() const noexcept { return fired_; }

private:
    struct entry {
        timer node;
        std::multimap<std::int64_t, entry*>::iterator at;
        std::uint64_t armed_in = 0;  // the number of the last expire() before it was armed
        bool armed = false;
    };

    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    entry& any() { return entries_[below(entries_.size())]; }
    void mistake_if(bool wrong) { mistakes_ += wrong ? 1 : 0; }

    std::int64_t time_step() {
        switch (below(5)) {
            case 0: return 0;
            case 1: return static_cast<std::int64_t>(below(100));
            case 2: return static_cast<std::int64_t>(below(1000 * microsecond));
            case 3: return static_cast<std::int64_t>(below(100 * second));
            default: return below(50) == 0 ? year * static_cast<std::int64_t>(below(20)) : second;
        }
    }

    //! `d` from now, or the end of time.
    std::int64_t after(std::int64_t d) const {
        std::int64_t at = 0;
        return __builtin_add_overflow(now_, d, &at) ? timer_set::never : at;
    }

    std::int64_t deadline() {
        switch (below(8)) {
            case 0: return now_;
            case 1: return now_ - static_cast<std::int64_t>(below(second));
            case 2: return model_.empty() ? now_ : model_.begin()->first;
            case 3: return below(4) == 0 ? timer_set::never : after(time_step());
            case 4: return below(4) == 0 ? timer_set::never - 1 : after(1);
            case 5: return below(4) == 0 ? -static_cast<std::int64_t>(below(second)) : after(year);
            default: return after(time_step());
        }
    }

    void insert(entry& e) {
        if (e.armed) return;
        const std::int64_t at = deadline();
        set_.insert(e.node, at);
        e.at = model_.emplace(at, &e);
        e.armed = true;
        e.armed_in = expiries_;
        mistake_if(!e.node.armed());
    }

    void cancel(entry& e) {
        set_.cancel(e.node);  // also when it is not armed: harmless
        if (e.armed) model_.erase(e.at);
        e.armed = false;
        mistake_if(e.node.armed());
    }

    void fired(entry& e) {
        ++fired_;
        mistake_if(!e.armed || e.at->first > now_ || e.armed_in == expiries_ || e.node.armed());
        if (e.armed) model_.erase(e.at);
        e.armed = false;
        if (running_out_) return;
        // A callback may do to the set what it likes, with timers due in the same expiry too.
        for (std::uint64_t n = below(3); n > 0; --n) cancel(any());
        for (std::uint64_t n = below(3); n > 0; --n) insert(below(3) == 0 ? e : any());
    }

    void expire(std::int64_t now) {
        now_ = std::max(now_, now);
        ++expiries_;
        const std::uint64_t before = fired_;
        mistake_if(set_.expire(now_) != fired_ - before);
        for (auto i = model_.begin(); i != model_.end() && i->first <= now_; ++i)
            mistake_if(i->second->armed_in != expiries_);  // was due and did not fire
    }

    void compare() {
        mistake_if(set_.size() != model_.size());
        const std::int64_t next = set_.next_deadline();
        if (model_.empty())
            mistake_if(next != timer_set::never);
        else
            mistake_if(next > model_.begin()->first);
    }

    std::mt19937_64 random_;
    timer_set set_;
    std::multimap<std::int64_t, entry*> model_;
    std::deque<entry> entries_;
    std::int64_t now_ = 0;
    std::uint64_t expiries_ = 1;
    std::uint64_t fired_ = 0;
    int mistakes_ = 0;
    bool running_out_ = false;
};

}  // namespace

TEST_CASE("timer_set does what a sorted map does") {
    std::uint64_t fired = 0;
    for (unsigned seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        comparison c(seed);
        for (int i = 0; i < 5'000 && c.mistakes() == 0; ++i) c.step();
        c.run_out();
        REQUIRE(c.mistakes() == 0);
        fired += c.total_fired();
    }
    CHECK(fired > 20'000);  // else the steps above have lost their meaning
}

TEST_CASE("timer_set: an empty one has no deadline and expires nothing") {
    timer_set set;
    CHECK(set.next_deadline() == timer_set::never);
    CHECK(set.size() == 0);
    CHECK(set.expire(year) == 0);
    CHECK(set.next_deadline() == timer_set::never);
}

TEST_CASE("timer_set: a deadline is exact to the nanosecond") {
    for (const std::int64_t at : {std::int64_t{1}, microsecond, second + 1, 40 * year + 17}) {
        CAPTURE(at);
        timer_set set;
        timer t;
        set.insert(t, at);
        CHECK(set.next_deadline() == at);
        CHECK(set.expire(at - 1) == 0);
        CHECK(t.fired == 0);
        CHECK(t.armed());
        CHECK(set.expire(at) == 1);
        CHECK(t.fired == 1);
        CHECK_FALSE(t.armed());
        CHECK(set.next_deadline() == timer_set::never);
    }
}

TEST_CASE("timer_set: a passed deadline expires at the next expire, not earlier") {
    timer_set set;
    set.expire(100);
    timer first;
    timer second_one;
    first.then = [&] { set.insert(second_one, 50); };
    set.insert(first, 20);
    CHECK(set.next_deadline() <= 20);
    CHECK(set.expire(100) == 1);
    CHECK(second_one.fired == 0);
    CHECK(set.next_deadline() <= 50);
    CHECK(set.expire(100) == 1);
    CHECK(second_one.fired == 1);
}

TEST_CASE("timer_set: a callback cancels another timer that is due with it") {
    timer_set set;
    timer a;
    timer b;
    a.then = [&] { set.cancel(b); };
    b.then = [&] { set.cancel(a); };
    set.insert(a, 10);
    set.insert(b, 10);
    CHECK(set.expire(10) == 1);
    CHECK(a.fired + b.fired == 1);
    CHECK(set.size() == 0);
    CHECK(set.next_deadline() == timer_set::never);
}

TEST_CASE("timer_set: `never` waits through every time that there is") {
    timer_set set;
    timer t;
    set.insert(t, timer_set::never);
    CHECK(set.expire(timer_set::never - 1) == 0);
    CHECK(t.armed());
    set.cancel(t);
    CHECK(set.size() == 0);
}

TEST_CASE("timer_set: timers of one deadline all expire, and in one call") {
    timer_set set;
    std::vector<timer> timers(1'000);
    for (timer& t : timers) set.insert(t, 5 * second);
    CHECK(set.expire(5 * second - 1) == 0);
    CHECK(set.next_deadline() <= 5 * second);
    CHECK(set.expire(5 * second) == timers.size());
    for (const timer& t : timers) REQUIRE(t.fired == 1);
}

TEST_CASE("timer_set: a million timers that are cancelled cost no expiry") {
    timer_set set;
    std::vector<timer> timers(1'000);
    std::mt19937_64 random(7);
    const auto began = std::chrono::steady_clock::now();
    std::int64_t now = 0;
    std::uint64_t inserted = 0;
    while (inserted < 1'000'000)
        for (timer& t : timers) {
            // An idle timeout: set for half a minute, cancelled long before.
            now += static_cast<std::int64_t>(random() % (10 * microsecond));
            set.cancel(t);
            set.insert(t, now + 30 * second);
            ++inserted;
            if (set.next_deadline() <= now) set.expire(now);
        }
    int fired = 0;
    for (timer& t : timers) {
        set.cancel(t);
        fired += t.fired;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    MESSAGE("1,000,000 timers inserted and cancelled in " << took.count() << " s");
    CHECK(fired == 0);
    CHECK(set.size() == 0);
}

TEST_CASE("timer_set: who follows next_deadline() is seldom woken for nothing") {
    constexpr std::size_t count = 100'000;
    timer_set set;
    std::vector<timer> timers(count);
    std::mt19937_64 random(11);
    for (timer& t : timers) set.insert(t, static_cast<std::int64_t>(random() % (60 * second)));
    const auto began = std::chrono::steady_clock::now();
    std::uint64_t wakes = 0;
    std::uint64_t in_vain = 0;
    std::int64_t before = -1;
    bool forward = true;
    while (set.size() != 0 && wakes < 2 * count) {
        const std::int64_t next = set.next_deadline();
        forward = forward && next > before;
        before = next;
        ++wakes;
        if (set.expire(next) == 0) ++in_vain;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    MESSAGE("100,000 timers expired by " << wakes << " wake-ups, " << in_vain << " in vain, in "
                                         << took.count() << " s");
    CHECK(forward);
    CHECK(set.size() == 0);
    CHECK(in_vain < count / 4);
    CHECK(std::ranges::all_of(timers, [](const timer& t) { return t.fired == 1; }));
}
