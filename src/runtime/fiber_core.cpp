// SPDX-License-Identifier: Apache-2.0
#include "sluice/fiber_core.hpp"

#include <cxxabi.h>

#include <boost/context/detail/fcontext.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "runtime/fiber_stacks.hpp"
#include "runtime/sanitizers.hpp"
#include "runtime/source_name.hpp"
#include "sluice/task_dump.hpp"

namespace sluice::detail {

namespace {

namespace context = boost::context::detail;

constinit thread_local fiber_core* running_fiber = nullptr;

constexpr auto fill = std::byte{0xa5};

// The sanitizer has marked parts of the stack that no live variable owns.
__attribute__((no_sanitize("address"), noinline)) std::size_t untouched(const std::byte* low,
                                                                        std::size_t size) noexcept {
    std::size_t n = 0;
    while (n < size && low[n] == fill) ++n;
    return n;
}

}  // namespace

struct fiber_core::switching {
    //! From the driver into the fiber, until that waits or ends.
    static void enter(fiber_core& f) noexcept {
        const guarded_stack here{f.options_.name, f.stack_.low - fiber_stacks::guard_bytes,
                                 fiber_stacks::guard_bytes, f.stack_.size};
        running_fiber = &f;
        running_stack = &here;
        swap_exceptions(f);
        void* kept = nullptr;
        asan_leave(&kept, f.stack_.low, f.stack_.size);
        f.tsan_driver_ = tsan_current();
        tsan_switch(f.tsan_fiber_);
        f.context_ = context::jump_fcontext(f.context_, &f).fctx;
        asan_arrive(kept, nullptr, nullptr);
        swap_exceptions(f);
        running_stack = nullptr;
        running_fiber = nullptr;
    }

    //! From the fiber back to the driver. Returns when the driver enters again.
    static void leave(fiber_core& f) noexcept {
        void* kept = nullptr;
        asan_leave(f.ended_ ? nullptr : &kept, f.driver_stack_, f.driver_stack_size_);
        tsan_switch(f.tsan_driver_);
        f.context_ = context::jump_fcontext(f.context_, nullptr).fctx;
        asan_arrive(kept, &f.driver_stack_, &f.driver_stack_size_);
    }

    //! The lowest frame of the fiber's stack. Never returns.
    static void begin(context::transfer_t from) noexcept {
        auto& f = *static_cast<fiber_core*>(from.data);
        f.context_ = from.fctx;
        asan_arrive(nullptr, &f.driver_stack_, &f.driver_stack_size_);
        f.run();
        f.ended_ = true;
        leave(f);
    }

    static void swap_exceptions(fiber_core& f) noexcept {
        decltype(f.exceptions_) mine;
        auto* globals = static_cast<void*>(abi::__cxa_get_globals());
        std::memcpy(&mine, globals, sizeof mine);
        std::memcpy(globals, &f.exceptions_, sizeof mine);
        f.exceptions_ = mine;
    }
};

boost::system::error_code fiber_core::open() {
    auto& stacks = env_.home.locals().get<fiber_stacks>(env_.home);
    if (const auto failed = stacks.take(options_.stack_size, stack_)) return failed;
    stacks_ = &stacks;
    if (options_.measure_stack) std::fill_n(stack_.low, stack_.size, fill);
    context_ = context::make_fcontext(stack_.low + stack_.size, stack_.size, switching::begin);
    tsan_fiber_ = tsan_create();
    return {};
}

fiber_core::~fiber_core() {
    if (stacks_ == nullptr) return;
    if (pending_ != nullptr && !ended_) {
        unwinding_ = true;
        switching::enter(*this);
    }
    if (options_.measure_stack) stacks_->note_used(stack_used());
    tsan_destroy(tsan_fiber_);
    stacks_->give_back(stack_);
}

bool fiber_core::resume() noexcept {
    switching::enter(*this);
    return !ended_;
}

void fiber_core::run() noexcept {
    try {
        call_(body_);
    } catch (const fiber_cancelled&) {
        // The driver sees that there is no result.
    } catch (...) {
        escaped_ = std::current_exception();
    }
}

void fiber_core::rethrow() {
    if (escaped_) std::rethrow_exception(std::exchange(escaped_, nullptr));
}

bool fiber_core::wait_for(fiber_wait& wanted) {
    if (unwinding_) return false;
    // As coroutines do, see await_adaptor; what is there at once costs no switch.
    if (!stop_requested() && wanted.ready() && env_.home.queue().spend()) return true;
    pending_ = &wanted;
    const int before = errno;  // C code below may want it after its callback
    switching::leave(*this);
    errno = before;
    if (unwinding_) return false;
    if (wanted.escaped) std::rethrow_exception(std::move(wanted.escaped));
    return true;
}

void fiber_core::describe(await_description& into) const {
    const std::source_location& at = pending_->where();
    into.inside(pending_->awaited());
    into.say(std::string(" on fiber \"") + options_.name + "\", in " +
             short_function_name(at.function_name()) + " (" + at.file_name() + ":" +
             std::to_string(at.line()) + ")");
}

std::size_t fiber_core::stack_used() const noexcept {
    if (!options_.measure_stack) return 0;
    return stack_.size - untouched(stack_.low, stack_.size);
}

fiber_core* fiber_core::running() noexcept { return running_fiber; }

fiber_core& fiber_core::current() {
    if (running_fiber == nullptr)
        throw std::logic_error("sluice: fiber::await() was called outside a fiber");
    return *running_fiber;
}

}  // namespace sluice::detail
