// SPDX-License-Identifier: Apache-2.0
#include "sluice/failure.hpp"

#include <spdlog/spdlog.h>

#include <new>

#include "sluice/log.hpp"
#include "sluice/reactor.hpp"

namespace sluice {

void failure_log::add(const failure& f) noexcept {
    ++count_;
    if (kept_.size() >= most_) return;
    try {
        kept_.push_back(f);
    } catch (const std::bad_alloc&) {
        most_ = kept_.size();  // the order has a gap from here on
    }
}

namespace detail {

void report_failure(reactor& home, const failure& f) noexcept {
    home.count_task_failure();
    if (!f.exception) {
        // A cancelled or disconnected task is everyday business.
        logger()->debug("reactor {}: a task ended with: {}", home.index(), f.error.message());
        return;
    }
    try {
        std::rethrow_exception(f.exception);
    } catch (const std::exception& e) {
        logger()->error("reactor {}: a task ended with an exception: {}", home.index(), e.what());
    } catch (...) {
        logger()->error("reactor {}: a task ended with an exception of an unknown type",
                        home.index());
    }
}

}  // namespace detail
}  // namespace sluice
