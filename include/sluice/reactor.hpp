// SPDX-License-Identifier: Apache-2.0
//! The event loop of one core.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "sluice/drain.hpp"
#include "sluice/features.hpp"
#include "sluice/frame_pool.hpp"
#include "sluice/nursery_list.hpp"
#include "sluice/options.hpp"
#include "sluice/reactor_local.hpp"
#include "sluice/result.hpp"
#include "sluice/run_queue.hpp"
#include "sluice/stats.hpp"
#include "sluice/timer.hpp"

namespace sluice {

class nursery;

namespace detail {

//! What another thread hands to a reactor.
class delivery : public home_node {
public:
    //! On the reactor's thread. It must not resume a coroutine.
    virtual void arrived() noexcept = 0;

protected:
    ~delivery() = default;
};

class reactor_io;
class kernel;
class stall_detector;
class mesh_port;
class helper_pool;
}  // namespace detail

//! One thread, one io_uring, and the coroutines that live on it. Everything that belongs to a
//! reactor is touched by its thread only; the members that other threads may call say so.
//! Needs Linux 6.1 (io_uring(7): IORING_SETUP_DEFER_TASKRUN).
class reactor {
public:
    using clock = std::chrono::steady_clock;

    //! Sets up the ring. To be called, used and destroyed on the thread that will run it: the ring
    //! accepts submissions of one thread only. Errors: the kernel's; explain_ring_error() says what
    //! they mean.
    static result<std::unique_ptr<reactor>> create(const reactor_options& options = {},
                                                   unsigned index = 0);

    //! The same on another kernel; used by tests to put a simulated one below.
    static result<std::unique_ptr<reactor>> create_on(detail::kernel& kernel,
                                                      const reactor_options& options = {},
                                                      unsigned index = 0);

    ~reactor();
    reactor(const reactor&) = delete;
    reactor& operator=(const reactor&) = delete;

    //! Runs until a drain or a stop was requested and all tasks have ended, and all operations with
    //! them.
    void run();

    //! Runs until no task is left in the root nursery and no operation in the background.
    void run_until_idle();

    //! Starts `fn(args...)`, which returns a task, in the root nursery. Callable and arguments are
    //! kept in the task's frame. What escapes from the task is counted and logged.
    //! Defined in sluice/nursery.hpp.
    template <class F, class... Args>
    void spawn(F&& fn, Args&&... args);

    //! The nursery that everything started on this reactor belongs to.
    [[nodiscard]] nursery& root() noexcept { return *root_; }

    //! First phase of a stop: listeners take no more connections, `draining()` turns true. Work in
    //! flight goes on.
    void request_drain() noexcept;
    [[nodiscard]] bool draining() const noexcept { return draining_; }

    //! Second phase: cancels every task of the root nursery; run() returns when they have ended.
    void request_stop() noexcept;

    //! Third phase, for tasks that ignore the stop: no coroutine is resumed any more; run()
    //! cancels what the kernel holds, destroys what is left and counts it.
    void abandon() noexcept;
    [[nodiscard]] bool abandoned() const noexcept { return abandoned_; }

    //! Runs `fn` on the reactor's thread, soon. From any thread; the reactor must exist until the
    //! call returns, which may be after `fn` has run. The function must not throw. Never refused:
    //! for what must not fail, such as a stop.
    void post(std::function<void()> fn);

    //! The same with a limit, for what programs do often. Error: ENOBUFS when
    //! reactor_options::max_posts functions wait already; counted in posts_refused.
    result<void> post_from_any_thread(std::function<void()> fn);

    //! Throws away what was posted and has not been run: for the end of a reactor.
    void drop_posted();

    //! Hands over an object that is linked through itself, so that this can't fail. From any
    //! thread, while the reactor exists.
    void deliver(detail::delivery& d) noexcept;

    //! The reactor whose thread this is; null elsewhere.
    static reactor* current() noexcept;

    [[nodiscard]] unsigned index() const noexcept { return index_; }
    [[nodiscard]] const reactor_options& options() const noexcept { return options_; }
    [[nodiscard]] const features& ring_features() const noexcept;

    //! A snapshot, by the reactor's thread.
    [[nodiscard]] reactor_stats stats() const noexcept;

    //! The time at which this turn of the loop began, or that of the last update_time().
    [[nodiscard]] clock::time_point now() const noexcept {
        return clock::time_point{std::chrono::nanoseconds{now_}};
    }

    //! Reads the clock, for code whose turn takes long.
    void update_time() noexcept;

    // What awaitables and the net layer build on.
    void count_task_failure() noexcept { ++stats_.task_failures; }
    [[nodiscard]] detail::run_queue& queue() noexcept { return queue_; }
    [[nodiscard]] detail::timer_set& timers() noexcept { return timers_; }
    [[nodiscard]] detail::reactor_io& io() noexcept { return *io_; }
    [[nodiscard]] detail::nursery_list& nurseries() noexcept { return nurseries_; }
    [[nodiscard]] detail::drain_list& drain_listeners() noexcept { return drain_listeners_; }
    [[nodiscard]] detail::reactor_locals& locals() noexcept { return locals_; }

    //! Objects in frames of this reactor that other threads hold: it doesn't end before them.
    [[nodiscard]] std::size_t& lent() noexcept { return lent_; }

    // For the service.
    [[nodiscard]] detail::mesh_port* port() const noexcept { return port_; }
    void set_port(detail::mesh_port* p) noexcept { port_ = p; }
    //! The threads of blocking() calls; a reactor without a service has its own.
    [[nodiscard]] detail::helper_pool& helpers();
    void set_helpers(std::shared_ptr<detail::helper_pool> pool) noexcept;

private:
    reactor(const reactor_options& options, unsigned index);
    result<void> start(detail::kernel& kernel);
    void turn();
    void run_ready();
    void run_loop();
    [[nodiscard]] bool finished() noexcept;
    [[nodiscard]] bool idle() const noexcept;
    void run_posted();
    void take_arrivals() noexcept;
    void finish_abandoning();
    void wait_for_lent();

    static constexpr std::int64_t abandon_limit_ns = 5'000'000'000;

    struct mailbox;

    reactor_options options_;
    unsigned index_;
    detail::run_queue queue_;
    detail::timer_set timers_;
    std::int64_t now_ = 0;  // nanoseconds
    bool draining_ = false;
    bool abandoned_ = false;
    bool until_idle_ = false;
    reactor_stats stats_;
    detail::frame_pool* frames_;
    detail::home_list arrivals_;
    std::size_t lent_ = 0;
    detail::mesh_port* port_ = nullptr;
    std::shared_ptr<detail::helper_pool> helpers_;
    std::unique_ptr<mailbox> mailbox_;
    std::unique_ptr<detail::reactor_io> io_;
    detail::drain_list drain_listeners_;
    detail::nursery_list nurseries_;
    std::unique_ptr<nursery> root_;
    std::unique_ptr<detail::stall_detector> stalls_;
    detail::reactor_locals locals_;    // may use all of the above, so goes first
    reactor* next_reactor_ = nullptr;  // of the process, for debuggers
};

//! What to tell a person for whom reactor::create() failed: the cause and the remedy.
std::string explain_ring_error(const boost::system::error_code& error);

}  // namespace sluice
