// SPDX-License-Identifier: Apache-2.0
#include "sluice/retry.hpp"

#include <cerrno>
#include <functional>
#include <stdexcept>
#include <vector>

#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::backoff;
using sluice::cancelled_error;
using sluice::errno_error;
using sluice::error;
using sluice::nursery;
using sluice::reactor;
using sluice::result;
using sluice::retry;
using sluice::retry_policy;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::yield;

namespace {

//! A policy whose pauses cost no time.
retry_policy quick(unsigned attempts) {
    retry_policy p;
    p.max_attempts = attempts;
    p.first_pause = 1us;
    p.longest_pause = 10us;
    return p;
}

//! Fails a number of times.
class shaky {
public:
    shaky(int failures, boost::system::error_code why) : failures_(failures), why_(why) {}
    task<result<int>> operator()() {
        ++calls;
        co_await yield();
        if (failures_-- > 0) co_return why_;
        co_return 42;
    }
    int calls = 0;

private:
    int failures_;
    boost::system::error_code why_;
};

}  // namespace

TEST_CASE("backoff: grows to the longest, and the same seed gives the same") {
    retry_policy p;
    p.first_pause = 10ms;
    p.longest_pause = 100ms;
    p.jitter = 0;
    backoff plain(p);
    for (const auto expected : {10ms, 20ms, 40ms, 80ms, 100ms, 100ms})
        CHECK(plain.next() == expected);
    p.jitter = 0.5;
    p.seed = 7;
    backoff one(p);
    backoff same(p);
    p.seed = 8;
    backoff other(p);
    bool differs = false;
    for (const auto whole : {10ms, 20ms, 40ms, 80ms, 100ms, 100ms}) {
        const auto pause = one.next();
        CHECK(pause == same.next());
        CHECK(pause <= whole);
        CHECK(pause >= whole / 2);
        differs = differs || pause != other.next();
    }
    CHECK(differs);
}

TEST_CASE("backoff: without a seed two are not alike, and jitter spreads over its range") {
    retry_policy p;
    p.jitter = 1;
    p.growth = 1;
    backoff a(p);
    backoff b(p);
    int alike = 0;
    int low = 0;
    for (int i = 0; i < 1000; ++i) {
        const auto pause = a.next();
        alike += pause == b.next() ? 1 : 0;
        low += pause < p.first_pause / 2 ? 1 : 0;
        CHECK(pause >= 0ns);
    }
    CHECK(alike < 10);
    CHECK(low > 400);
    CHECK(low < 600);
}

TEST_CASE("backoff: extreme policies give pauses that fit") {
    retry_policy p;
    p.first_pause = p.longest_pause = std::chrono::nanoseconds::max();
    p.growth = 1e300;
    p.jitter = -1;
    backoff longest(p);
    for (int i = 0; i < 10; ++i) CHECK(longest.next() > 24h * 365);
    p.first_pause = -1s;
    backoff negative(p);
    for (int i = 0; i < 10; ++i) CHECK(negative.next() == 0ns);
}

SLUICE_TEST_CASE("retry: until it succeeds") {
    for (const int failures : {0, 1, 4}) {
        shaky f(failures, errno_error(ECONNREFUSED));
        const auto got = co_await retry(quick(5), std::ref(f));
        REQUIRE(got.has_value());
        CHECK(*got == 42);
        CHECK(f.calls == failures + 1);
    }
}

SLUICE_TEST_CASE("retry: at most so many attempts, and the last error") {
    shaky f(100, errno_error(ECONNRESET));
    const auto got = co_await retry(quick(3), std::ref(f));
    CHECK(got.error() == errno_error(ECONNRESET));
    CHECK(f.calls == 3);
    shaky once(100, errno_error(ECONNRESET));
    static_cast<void>(co_await retry(quick(1), std::ref(once)));
    CHECK(once.calls == 1);
    shaky unlimited(50, errno_error(ECONNRESET));
    const auto late = co_await retry(quick(0), std::ref(unlimited));
    CHECK(late.has_value());
}

SLUICE_TEST_CASE("retry: errors that won't pass are given at once; the predicate is the user's") {
    shaky f(100, errno_error(EACCES));
    const auto got = co_await retry(quick(5), std::ref(f));
    CHECK(got.error() == errno_error(EACCES));
    CHECK(f.calls == 1);
    shaky stubborn(2, errno_error(EACCES));
    const auto again = co_await retry(quick(5), std::ref(stubborn),
                                      [](const auto& e) { return e.value() == EACCES; });
    CHECK(again.has_value());
    CHECK(sluice::may_pass(error::timeout));
    CHECK(sluice::may_pass(error::eof));
    CHECK_FALSE(sluice::may_pass(error::draining));
    CHECK_FALSE(sluice::may_pass(cancelled_error()));
}

SLUICE_TEST_CASE("retry: an exception passes through") {
    int calls = 0;
    bool thrown = false;
    auto throws = [&]() -> task<result<int>> {
        ++calls;
        co_await yield();
        throw std::runtime_error("not tried again");
    };
    try {
        static_cast<void>(co_await retry(quick(5), throws));
    } catch (const std::runtime_error&) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK(calls == 1);
}

SLUICE_TEST_CASE("retry: cancelled before, in an attempt and in a pause it ends at once") {
    enum class when { before, in_attempt, in_pause };
    for (const auto moment : {when::before, when::in_attempt, when::in_pause}) {
        int calls = 0;
        retry_policy p = quick(0);
        if (moment == when::in_pause) p.first_pause = p.longest_pause = 1h;
        result<int> got{0};
        auto attempt = [&]() -> task<result<int>> {
            ++calls;
            if (moment != when::in_pause) {
                const auto slept = co_await sleep_for(1h);
                if (!slept) co_return slept.error();
            }
            co_return errno_error(ECONNREFUSED);
        };
        const auto done = co_await with_nursery([&](nursery& n) -> task<> {
            if (moment == when::before) n.request_stop();
            n.spawn([&]() -> task<> { got = co_await retry(p, attempt); });
            co_await yield();
            co_await yield();
            n.request_stop();
        });
        CHECK(done.has_value());
        CHECK(got.has_error());
        CHECK(got.error() == cancelled_error());
        CHECK(calls == 1);
    }
}

SLUICE_TEST_CASE("retry: an error that is worth it is not tried again after the stop") {
    int calls = 0;
    result<int> got{0};
    auto attempt = [&]() -> task<result<int>> {
        ++calls;
        static_cast<void>(co_await sleep_for(1h));
        co_return errno_error(ECONNRESET);
    };
    const auto done = co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> { got = co_await retry(quick(0), attempt); });
        co_await yield();
        co_await yield();
        n.request_stop();
    });
    CHECK(done.has_value());
    CHECK(calls == 1);
    CHECK(got.error() == errno_error(ECONNRESET));
}

SLUICE_TEST_CASE("retry: the time for all cuts an attempt off, and begins no pause beyond it") {
    retry_policy p = quick(0);
    p.total_timeout = 5ms;
    int calls = 0;
    auto hangs = [&]() -> task<result<int>> {
        ++calls;
        const auto slept = co_await sleep_for(1h);
        if (!slept) co_return slept.error();
        co_return 1;
    };
    const auto cut = co_await retry(p, hangs);
    CHECK(cut.error() == error::timeout);
    CHECK(calls == 1);
    p.first_pause = p.longest_pause = 1h;
    p.total_timeout = 10min;
    shaky f(100, errno_error(ECONNREFUSED));
    const auto began = reactor::clock::now();
    const auto refused = co_await retry(p, std::ref(f));
    CHECK(refused.error() == errno_error(ECONNREFUSED));
    CHECK(f.calls == 1);
    CHECK(reactor::clock::now() - began < 5min);
}
