// SPDX-License-Identifier: Apache-2.0
//! What a fiber is made of: a stack, and the switch between it and the reactor's. Users include
//! sluice/fiber.hpp.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>

#include <boost/system/error_code.hpp>

#include "sluice/await_record.hpp"
#include "sluice/environment.hpp"

namespace sluice {

//! Thrown by fiber::await() when the fiber was asked to stop. Not a std::exception: handlers of
//! errors let it pass.
class fiber_cancelled final {};

struct fiber_options {
    std::size_t stack_size = 256 * 1024;  //!< bytes, rounded up to pages; memory as it is touched
    const char* name = "fiber";           //!< for messages; must outlive the fiber
    //! Fills the stack with a pattern first, so that fiber::stack_used() is exact. Costs the
    //! writing of the whole stack for each fiber, and its memory.
    bool measure_stack = false;
};

struct fiber_stats {
    std::size_t live = 0;                //!< fibers that have a stack now
    std::size_t pooled_stacks = 0;       //!< kept for the next
    std::size_t mapped_bytes = 0;        //!< address space of all stacks, without guard pages
    std::uint64_t started = 0;           //!< fibers so far
    std::uint64_t refused = 0;           //!< no stack: the limit, or no memory
    std::size_t deepest_used_bytes = 0;  //!< by one fiber, of those that were measured
};

namespace detail {

//! What a fiber waits for, without its type; lives on the fiber's stack.
class fiber_wait {
public:
    explicit fiber_wait(std::source_location where) noexcept : where_(where) {}
    //! Where the fiber awaits it.
    [[nodiscard]] const std::source_location& where() const noexcept { return where_; }
    //! For task dumps.
    [[nodiscard]] virtual awaited_ref awaited() const noexcept = 0;

    virtual bool ready() noexcept = 0;
    virtual bool suspend(std::coroutine_handle<>, const environment&) noexcept = 0;
    std::exception_ptr escaped;  // from suspend()

protected:
    ~fiber_wait() = default;

private:
    std::source_location where_;
};

struct fiber_stack {
    std::byte* low = nullptr;  // the first usable byte; guard pages below
    std::size_t size = 0;
};

class fiber_stacks;

//! Part of its driver's frame. Destroyed while the function has not returned, it makes the await
//! that the function is in throw fiber_cancelled, and waits for the end. A place for task dumps;
//! the stop goes to what the fiber awaits.
class fiber_core final : public stop_listener {
public:
    //! `body` is called on the fiber's stack, and must live as long.
    template <class Body>
    fiber_core(const environment& env, const fiber_options& options, Body& body) noexcept
        : env_(env),
          options_(options),
          body_(&body),
          call_([](void* b) { (*static_cast<Body*>(b))(); }) {}
    fiber_core(const fiber_core&) = delete;
    fiber_core& operator=(const fiber_core&) = delete;
    ~fiber_core();

    // For the driver, on the reactor's stack.

    //! Takes a stack; to be called first.
    boost::system::error_code open();
    //! Goes on with the function. True: it waits for pending(); false: it has ended.
    bool resume() noexcept;
    [[nodiscard]] fiber_wait& pending() const noexcept { return *pending_; }
    void on_stop() noexcept override {}
    void describe(await_description& into) const override;
    //! Throws what has escaped from the function, but for fiber_cancelled.
    void rethrow();

    // For the function, on the fiber's stack.

    //! Waits, or does not need to. False: the fiber is being unwound.
    bool wait_for(fiber_wait& wanted);
    [[nodiscard]] bool stop_requested() const noexcept { return env_.stop.stop_requested(); }
    [[nodiscard]] std::size_t stack_used() const noexcept;

    //! The fiber that the calling code runs on; null: none.
    static fiber_core* running() noexcept;
    //! The same; throws std::logic_error where there is none.
    static fiber_core& current();

private:
    struct switching;  // the parts that know Boost.Context
    void run() noexcept;

    const environment& env_;
    fiber_options options_;
    void* body_;
    void (*call_)(void*);
    fiber_stacks* stacks_ = nullptr;  // null: it has no stack
    fiber_stack stack_;
    void* context_ =
        nullptr;  // where to go on: the fiber's while the driver runs, else the driver's
    fiber_wait* pending_ = nullptr;
    std::exception_ptr escaped_;
    bool ended_ = false;
    bool unwinding_ = false;

    //! The C++ runtime's account of exceptions that are being handled, of the side that is not
    //! running: a fiber may wait in a handler while others throw. Layout of the Itanium C++ ABI.
    struct {
        void* caught = nullptr;
        unsigned uncaught = 0;
    } exceptions_;

    // For sanitizers: the stack to come back to, and the names of both sides.
    const void* driver_stack_ = nullptr;
    std::size_t driver_stack_size_ = 0;
    void* tsan_fiber_ = nullptr;
    void* tsan_driver_ = nullptr;
};

}  // namespace detail
}  // namespace sluice
