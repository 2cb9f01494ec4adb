// SPDX-License-Identifier: Apache-2.0
//! Why children of a scope failed, none forgotten and memory bounded.
#pragma once

#include <cstddef>
#include <exception>
#include <span>
#include <vector>

#include "sluice/error.hpp"

namespace sluice {

class reactor;

//! What ended a child: an exception that escaped, or else the error in its result.
struct failure {
    boost::system::error_code error;
    std::exception_ptr exception;

    explicit operator bool() const noexcept { return exception != nullptr || error.failed(); }
};

//! The first failures of a scope in the order in which they happened, and the number of the rest.
//! Memory is taken when there is a failure, and for the first `most` only.
class failure_log {
public:
    explicit failure_log(std::size_t most = 16) noexcept : most_(most) {}

    //! Never fails: without memory the failure is counted as one of the dropped.
    void add(const failure& f) noexcept;

    //! A child ended with ECANCELED because its scope was told to stop. That is a consequence and
    //! not a cause, and stands in this number only.
    void add_cancelled() noexcept { ++cancelled_; }

    [[nodiscard]] std::span<const failure> kept() const noexcept { return kept_; }
    [[nodiscard]] std::size_t dropped() const noexcept { return count_ - kept_.size(); }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t cancelled() const noexcept { return cancelled_; }

private:
    std::vector<failure> kept_;
    std::size_t most_;
    std::size_t count_ = 0;
    std::size_t cancelled_ = 0;
};

namespace detail {

//! A failure that nobody will be given: it is logged, and counted in reactor_stats::task_failures.
void report_failure(reactor& home, const failure& f) noexcept;

}  // namespace detail
}  // namespace sluice
