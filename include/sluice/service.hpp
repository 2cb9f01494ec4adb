// SPDX-License-Identifier: Apache-2.0
//! A reactor on each core, started and stopped together.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "sluice/nursery.hpp"
#include "sluice/options.hpp"
#include "sluice/reactor.hpp"
#include "sluice/result.hpp"
#include "sluice/sharded.hpp"
#include "sluice/stats.hpp"
#include "sluice/task_dump.hpp"

namespace sluice {

struct service_options {
    //! One reactor each; empty: usable_cpus().
    std::vector<unsigned> cpus{};
    //! Keep each reactor's thread on its CPU.
    bool pin = true;
    //! Let SIGINT and SIGTERM begin the stop, a second one cancel at once. For run() only; the
    //! signals are blocked in the calling thread meanwhile. Off: no signal is touched.
    bool handle_signals = false;
    //! Let SIGQUIT write a dump of all tasks to standard error, and go on. Like handle_signals.
    bool dump_on_sigquit = false;
    //! How long a dump waits for a reactor that does not answer because its turn takes long.
    std::chrono::nanoseconds dump_timeout{std::chrono::seconds{1}};
    //! How long work in flight may go on after the stop began, before it is cancelled.
    std::chrono::nanoseconds drain_timeout{std::chrono::seconds{10}};
    //! How long cancelled tasks may take to end, before they are destroyed.
    std::chrono::nanoseconds cancel_timeout{std::chrono::seconds{5}};
    reactor_options reactor{};
};

//! What was left when a reactor ended. Everything is 0 after a stop that went well.
struct reactor_report {
    unsigned index = 0;
    unsigned cpu = 0;
    std::size_t tasks_at_cancel = 0;    //!< tasks of the root nursery when draining time was over
    std::uint64_t tasks_destroyed = 0;  //!< that ignored the cancelling
    std::uint64_t live_operations = 0;  //!< at the kernel
    std::int64_t live_frames = 0;       //!< coroutine frames and pooled objects
    std::uint64_t task_failures = 0;    //!< failures that no task handled, over all the time
    reactor_stats stats{};
};

struct stop_report {
    std::vector<reactor_report> reactors;
    std::exception_ptr failure;  //!< the first that escaped from a co_main or another root task

    //! Nothing was destroyed, leaked or thrown.
    [[nodiscard]] bool clean() const noexcept;
    [[nodiscard]] std::string to_string() const;
};

namespace detail {
class mesh;
class helper_pool;
}  // namespace detail

//! Owns a thread with a reactor for each CPU. Can be started from any thread, several times in
//! a process. Its reactors are neighbours: on() works between them, and they end together, when
//! none of them has anything to do.
class service {
public:
    explicit service(service_options options = {});
    ~service();  // stops at once, if it runs
    service(const service&) = delete;
    service& operator=(const service&) = delete;

    //! Makes a sharded<T>, of which each reactor will have one T made from `args`. The service owns
    //! it, and it lives as long as the service. Before start(); what is added first is started
    //! first and stopped last.
    template <class T, class... Args>
    sharded<T>& add_sharded(Args... args) {
        auto made = std::make_unique<sharded<T>>(reactors(), std::move(args)...);
        sharded<T>& reference = *made;
        add(std::move(made));
        return reference;
    }

    //! Starts the reactors, then what was added, then runs `co_main(reactor&)`, which returns a
    //! task, on each. Returns when all of what was added has started; the reactors run until
    //! request_stop(). Errors: those of reactor::create(), explained by explain_ring_error(), of
    //! starting a thread, and those of what was added, whose exceptions it throws; everything has
    //! been stopped again then.
    template <class Main>
    result<void> start(Main co_main) {
        return start_with(spawner(std::move(co_main)), false);
    }

    //! start(), then waits until every co_main and what it spawned has ended, or until a stop.
    template <class Main>
    result<stop_report> run(Main co_main) {
        return run_with(spawner(std::move(co_main)));
    }

    //! Begins the stop: drain, then cancel, then destroy, each when the time of the one before is
    //! over. The second call cancels at once. From any thread, also from a reactor's, and also when
    //! the service has ended, until it is started again.
    void request_stop() noexcept;

    //! Waits for the end and reports. Call once, not from a reactor's thread.
    stop_report wait();

    //! What every coroutine is doing, one entry a reactor, empty for one that has ended. From any
    //! thread, between the return of start() and the next one. Each reactor answers between two
    //! turns; one that does not within service_options::dump_timeout is reported as such. On a
    //! reactor's thread it waits like that for the other reactors: for emergencies, not for every
    //! second.
    std::vector<task_dump> dump_tasks(const dump_limits& limits = {});

    [[nodiscard]] unsigned reactors() const noexcept {
        return static_cast<unsigned>(options_.cpus.size());
    }

    //! Runs `fn(reactor&)` on a reactor, between two turns; false: it has ended. From any thread,
    //! once the service has been started. The function must not throw. Without a limit: for what
    //! must not fail; programs use post_from_any_thread().
    bool post(unsigned index, std::function<void(reactor&)> fn);

    //! Runs `fn()`, which returns a task<T>, on a reactor, from any thread, once the service has
    //! been started. The future gets the value or the exception; std::future_error (broken promise)
    //! when the work of the service ended before; boost::system::system_error with ENOBUFS when
    //! reactor_options::max_posts functions wait there already.
    template <class F>
    auto submit(unsigned index, F fn) {
        using value = await_result_t<std::invoke_result_t<F&>>;
        auto promise = std::make_shared<std::promise<value>>();
        auto future = promise->get_future();
        auto posted = offer(index, [promise, fn = std::move(fn)](reactor& home) mutable {
            home.spawn(fulfil<value, F>, std::move(promise), std::move(fn));
        });
        if (!posted && posted.error() != error::draining)
            promise->set_exception(
                std::make_exception_ptr(boost::system::system_error(posted.error())));
        return future;
    }

    //! Runs `fn(reactor&)`, which must not throw, on a reactor, soon; from any thread. Errors:
    //! ENOBUFS when reactor_options::max_posts functions wait there already (counted in
    //! posts_refused); error::draining when the service has ended. A function that was taken is
    //! thrown away when the work of the service ends before its turn.
    result<void> post_from_any_thread(unsigned index, std::function<void(reactor&)> fn) {
        return offer(index, std::move(fn));
    }

private:
    using start_function = std::function<void(reactor&)>;
    struct worker;
    struct meeting;
    class lifecycle;

    template <class Main>
    static start_function spawner(Main co_main) {
        return [co_main = std::make_shared<Main>(std::move(co_main))](reactor& home) {
            home.spawn([co_main, &home] { return (*co_main)(home); });
        };
    }
    template <class T, class F>
    static task<> fulfil(std::shared_ptr<std::promise<T>> promise, F fn) {
        try {
            if constexpr (std::is_void_v<T>) {
                co_await fn();
                promise->set_value();
            } else {
                promise->set_value(co_await fn());
            }
        } catch (...) {
            promise->set_exception(std::current_exception());
        }
    }

    result<void> start_with(const start_function& begin, bool until_idle);
    result<stop_report> run_with(const start_function& begin);
    result<void> offer(unsigned index, std::function<void(reactor&)> fn);
    void add(std::unique_ptr<detail::sharded_base> made);
    void clear();

    service_options options_;
    std::vector<std::unique_ptr<detail::sharded_base>> sharded_;
    std::unique_ptr<lifecycle> lifecycle_;
    std::unique_ptr<detail::mesh> mesh_;
    std::shared_ptr<detail::helper_pool> helpers_;
    std::unique_ptr<meeting> meeting_;
    // They stay until the next start: foreign threads may ask for a stop while the end comes.
    std::vector<std::unique_ptr<worker>> workers_;
    bool running_ = false;  // of the thread that starts and waits
};

}  // namespace sluice
