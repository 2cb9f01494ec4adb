// SPDX-License-Identifier: Apache-2.0
#include "runtime/stall_detector.hpp"

#include <spdlog/spdlog.h>

#include "runtime/kernel/kernel.hpp"
#include "runtime/source_name.hpp"
#include "sluice/log.hpp"
#include "sluice/task.hpp"

namespace sluice::detail {

namespace {

std::int64_t milliseconds(std::chrono::nanoseconds d) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}

std::string and_more(std::uint64_t suppressed) {
    return suppressed == 0 ? "" : fmt::format("; {} more were not logged", suppressed);
}

}  // namespace

stall_detector::stall_detector(reactor& home)
    : watched_thread(home.options().stall_limit), home_(home), limit_(home.options().stall_limit) {
    watch();
}

void stall_detector::look() noexcept {
    const std::coroutine_handle<> running = home_.queue().running();
    in_coroutine_ = running != nullptr;
    if (in_coroutine_) where_ = promise_of(running.address()).record().where();
}

// Both threads log; the reactor's own does only when the other could not.
bool stall_detector::may_log(std::int64_t now, std::uint64_t& suppressed) noexcept {
    std::int64_t last = last_log_.load(std::memory_order_relaxed);
    const std::int64_t interval =
        std::chrono::nanoseconds(home_.options().stall_log_interval).count();
    if ((last != 0 && now - last < interval) || !last_log_.compare_exchange_strong(last, now)) {
        suppressed_.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    suppressed = suppressed_.exchange(0, std::memory_order_relaxed);
    return true;
}

void stall_detector::report(std::chrono::nanoseconds lasted,
                            std::span<void* const> stack) noexcept {
    caught_.store(true, std::memory_order_relaxed);
    std::uint64_t suppressed = 0;
    if (!may_log(linux_kernel().now(), suppressed)) return;
    try {
        std::string who = "it did not answer: it blocks SIGURG, or sits in the kernel";
        if (!stack.empty()) {
            who = "no coroutine runs: a posted function, or the runtime itself";
            if (in_coroutine_ && where_.line() == 0) who = "a task that has not reached an await";
            if (in_coroutine_ && where_.line() != 0)
                who = fmt::format("{}, after the co_await at {}:{}",
                                  short_function_name(where_.function_name()), where_.file_name(),
                                  where_.line());
        }
        logger()->warn("reactor {}: a turn has taken {} ms so far (limit {} ms){}; held by: {}\n{}",
                       home_.index(), milliseconds(lasted), milliseconds(limit_),
                       and_more(suppressed), who, describe_stack(stack));
    } catch (...) {
        // No memory for a message.
    }
}

bool stall_detector::turn_ended(std::int64_t begun, std::int64_t now) noexcept {
    turn_ends();
    const bool caught = caught_.exchange(false, std::memory_order_relaxed);
    if (now - begun < limit_.count()) return false;
    std::uint64_t suppressed = 0;
    if (!caught && may_log(now, suppressed))
        logger()->warn("reactor {}: a turn took {} ms (limit {} ms){}; it ended before its stack "
                       "could be taken",
                       home_.index(), milliseconds(std::chrono::nanoseconds(now - begun)),
                       milliseconds(limit_), and_more(suppressed));
    return true;
}

}  // namespace sluice::detail
