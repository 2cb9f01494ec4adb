// SPDX-License-Identifier: Apache-2.0
#include "runtime/fiber_stacks.hpp"

#include <algorithm>
#include <cerrno>

#include "runtime/kernel/kernel.hpp"
#include "runtime/reactor_io.hpp"
#include "runtime/sanitizers.hpp"
#include "sluice/error.hpp"
#include "sluice/fiber.hpp"

namespace sluice {
namespace detail {

namespace {
constexpr std::size_t page = 4096;
constexpr std::size_t smallest = 4 * page;  // less than a call of printf needs
constexpr std::size_t largest = std::size_t{1} << 40;
}  // namespace

fiber_stacks::fiber_stacks(reactor& home) : home_(home), limit_(home.options().max_fibers) {
    free_.reserve(home.options().fiber_stacks_kept);
    if (home.options().report_stack_overflow) watch_.emplace();
}

fiber_stacks::~fiber_stacks() {
    for (const fiber_stack& s : free_) unmap(s);
}

boost::system::error_code fiber_stacks::take(std::size_t size, fiber_stack& stack) {
    if (stats_.live >= limit_ || size > largest) {
        ++stats_.refused;
        return errno_error(size > largest ? ENOMEM : EAGAIN);
    }
    size = (std::max(size, smallest) + page - 1) / page * page;
    const auto kept = std::find_if(free_.rbegin(), free_.rend(),
                                   [size](const fiber_stack& s) { return s.size == size; });
    if (kept != free_.rend()) {
        stack = *kept;
        free_.erase(std::next(kept).base());
        stats_.pooled_stacks = free_.size();
    } else {
        int error = 0;
        void* low = home_.io().below().map_stack(size, guard_bytes, error);
        if (low == nullptr) {
            ++stats_.refused;
            return errno_error(error);
        }
        stack = {static_cast<std::byte*>(low), size};
        stats_.mapped_bytes += size;
    }
    ++stats_.live;
    ++stats_.started;
    return {};
}

void fiber_stacks::give_back(const fiber_stack& stack) noexcept {
    --stats_.live;
    // What the frames of the last fiber have marked does not concern the next one.
    asan_unpoison(stack.low, stack.size);
    if (free_.capacity() == 0) {
        unmap(stack);
        return;
    }
    if (free_.size() == free_.capacity()) {  // full: the one unused for longest goes
        unmap(free_.front());
        free_.erase(free_.begin());
    }
    free_.push_back(stack);
    stats_.pooled_stacks = free_.size();
}

void fiber_stacks::note_used(std::size_t bytes) noexcept {
    stats_.deepest_used_bytes = std::max(stats_.deepest_used_bytes, bytes);
}

void fiber_stacks::unmap(const fiber_stack& stack) noexcept {
    stats_.mapped_bytes -= stack.size;
    home_.io().below().unmap(stack.low - guard_bytes, stack.size + guard_bytes);
}

}  // namespace detail

fiber_stats fiber::stats(reactor& home) {
    const auto* stacks = home.locals().find<detail::fiber_stacks>();
    return stacks == nullptr ? fiber_stats{} : stacks->stats();
}

}  // namespace sluice
