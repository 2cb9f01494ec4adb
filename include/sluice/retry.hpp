// SPDX-License-Identifier: Apache-2.0
//! Trying again, with pauses that grow.
#pragma once

#include <chrono>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "sluice/result.hpp"
#include "sluice/task.hpp"
#include "sluice/this_coro.hpp"
#include "sluice/timeout.hpp"

namespace sluice {

struct retry_policy {
    unsigned max_attempts = 5;  //!< the first one included; 0: no limit
    std::chrono::nanoseconds first_pause{std::chrono::milliseconds{100}};
    std::chrono::nanoseconds longest_pause{std::chrono::seconds{30}};
    double growth = 2.0;  //!< of the pause from one attempt to the next

    //! The share of a pause that is left to chance, 0 to 1: a pause p is between (1 - jitter) * p
    //! and p, so that clients that failed together don't come back together.
    double jitter = 0.5;

    //! For all attempts and pauses together; 0: no limit. An attempt that is cut off by it gives
    //! error::timeout, and a pause that would not end before it isn't begun.
    std::chrono::nanoseconds total_timeout{0};

    //! Of the chance; the same seed gives the same pauses. 0: another one each time.
    std::uint64_t seed = 0;
};

//! The pauses of a policy, one after the other.
class backoff {
public:
    explicit backoff(const retry_policy& policy) noexcept;
    [[nodiscard]] std::chrono::nanoseconds next() noexcept;

private:
    double pause_;  // ns, the next one without jitter
    double longest_;
    double growth_;
    double jitter_;
    std::uint64_t state_;
};

//! Whether an error may go away by itself: error::timeout, error::eof, and what the network says of
//! a peer that is not there, has gone or is too busy. Not ECANCELED.
bool may_pass(const boost::system::error_code& error) noexcept;

namespace detail {

// Not an aggregate: g++ 12 copies those wrongly as parameters of coroutines.
class retry_plan {
public:
    explicit retry_plan(const retry_policy& policy) noexcept
        : pauses_(policy), attempts_(policy.max_attempts), total_(policy.total_timeout) {}

    void begin(reactor& home) noexcept;

    [[nodiscard]] reactor::clock::time_point deadline() const noexcept { return deadline_; }

    //! The pause before the next attempt; negative: there is none.
    [[nodiscard]] std::chrono::nanoseconds next_pause(reactor& home) noexcept;

private:
    backoff pauses_;
    unsigned attempts_;  // that are left, 0: no limit
    std::chrono::nanoseconds total_;
    reactor::clock::time_point deadline_ = reactor::clock::time_point::max();
};

template <class F, class Worth>
task<std::remove_cvref_t<await_result_t<std::invoke_result_t<F&>>>> retry_loop(retry_plan plan,
                                                                               F fn, Worth worth) {
    using outcome = std::remove_cvref_t<await_result_t<std::invoke_result_t<F&>>>;
    static_assert(is_result<outcome>, "retry needs a function whose awaitable gives a result<T>");
    reactor& home = co_await this_coro::reactor();
    const auto stop = co_await this_coro::stop_token();
    plan.begin(home);
    for (;;) {
        auto attempt = with_deadline(plan.deadline(), fn());
        auto tried = co_await std::move(attempt);
        if (tried || stop.stop_requested() || !worth(tried.error())) co_return tried;
        const auto pause = plan.next_pause(home);
        if (pause.count() < 0) co_return tried;
        const auto slept = co_await sleep_for(pause);
        if (!slept) co_return slept.error();
    }
}

}  // namespace detail

//! Awaits `fn()`, which gives a result<T>, until it succeeds, and pauses between the attempts. Ends
//! with the last error when `worth(error)` says that trying again is no use, when there have been
//! enough attempts, or when the time is over. Exceptions pass through, nothing is tried again then.
//! Cancelled: what the attempt gave, or ECANCELED at once in a pause; no attempt is made any more.
template <class F, class Worth>
auto retry(const retry_policy& policy, F fn, Worth worth) {
    return detail::retry_loop<F, Worth>(detail::retry_plan{policy}, std::move(fn),
                                        std::move(worth));
}

//! The same for errors that may_pass().
template <class F>
auto retry(const retry_policy& policy, F fn) {
    return retry(policy, std::move(fn),
                 [](const boost::system::error_code& error) { return may_pass(error); });
}

}  // namespace sluice
