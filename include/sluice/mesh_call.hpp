// SPDX-License-Identifier: Apache-2.0
//! One call from a reactor to another of its service: the base of on() and what is built on it.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "sluice/awaitable.hpp"
#include "sluice/home_list.hpp"
#include "sluice/stop.hpp"

#include <boost/system/error_code.hpp>

namespace sluice {

class nursery;

namespace detail {

class mesh_call;
class mesh_port;

//! What must arrive whatever happens: linked through itself, it needs no room in any queue.
struct mesh_letter : home_node {
    enum class kind : std::uint8_t { reply, stop, stop_seen };
    mesh_letter(mesh_call& about, kind k) noexcept : call(about), what(k) {}

    mesh_call& call;
    kind what;
};

//! Lives in the frame of the coroutine that waits for it, and is lent to the target from the time
//! it is sent until its reply is back; so it brings the reply's place along, and a full queue can
//! hold up requests only, never replies. A stop is a letter of its own, which the target sends back
//! as well, so that nothing of a call that has ended is on its way any more.
class mesh_call : public waiter {
public:
    void on_stop() noexcept override;
    void describe(await_description& into) const override;

protected:
    mesh_call() noexcept = default;
    mesh_call(mesh_call&& o) noexcept : waiter(std::move(o)) {}
    ~mesh_call() {
        if (place_ == place::in_line) leave_line();
    }

    //! At the caller: sends the call, or puts it in line for room in the queue. False: it was
    //! refused, failure() says why. Throws std::logic_error when the reactor has no neighbours and
    //! std::out_of_range when there is none of that index.
    bool send(unsigned target, std::coroutine_handle<> h, const environment& env);

    //! At the target, on its thread, after everything that was sent before: does the work or
    //! starts it.
    virtual void begin(reactor& there) noexcept = 0;

    //! At the target: the work goes on for a while and can be stopped through `stop`.
    void running(stop_source& stop) noexcept;

    //! At the target: nothing of the work is left. The call belongs to its caller from here on.
    void finished() noexcept;

    //! Why there is no outcome: ECANCELED before the work had begun, error::draining when the
    //! target had ended.
    [[nodiscard]] const boost::system::error_code& failure() const noexcept { return failure_; }
    void fail(boost::system::error_code why) noexcept { failure_ = why; }

private:
    friend class mesh_port;
    friend class remote_work;
    enum class place : std::uint8_t { home, in_line, away };

    void leave_line() noexcept;

    // The caller's.
    mesh_port* from_ = nullptr;
    unsigned target_ = 0;
    place place_ = place::home;
    bool stop_sent_ = false;
    std::uint8_t owed_ = 0;  // letters that have to come back
    // In line for room at the caller, then among the running ones at the target.
    mesh_call* previous_ = nullptr;
    mesh_call* next_ = nullptr;
    // The target's while the call is away.
    mesh_port* at_ = nullptr;
    stop_source* work_ = nullptr;
    bool stop_asked_ = false;

    boost::system::error_code failure_;
    mesh_letter reply_{*this, mesh_letter::kind::reply};
    mesh_letter stop_{*this, mesh_letter::kind::stop};
};

//! What a call does at its target when it has to wait there: an object of the target's pool, which
//! a child of the port's nursery awaits, under a stop source that the caller can reach.
//!
//! Not the root nursery, because the work belongs to its caller and is stopped by it.
class remote_work : private stop_listener {
public:
    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* p) noexcept { frame_pool::deallocate(p); }

    remote_work(const remote_work&) = delete;
    remote_work& operator=(const remote_work&) = delete;
    virtual ~remote_work() = default;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& outer);
    void await_resume() noexcept;
    [[nodiscard]] virtual awaited_ref awaited() const noexcept = 0;

    //! On the target. Throws bad_alloc.
    static void spawn(reactor& there, std::unique_ptr<remote_work> work);

protected:
    explicit remote_work(mesh_call& c) noexcept : call_(c) {}

    //! Begins. False: it has ended already.
    virtual bool start(std::coroutine_handle<> h, const environment& env) noexcept = 0;
    //! Hands the outcome to the call, and lets go of all that belongs to the target.
    virtual void collect() noexcept = 0;

private:
    void on_stop() noexcept override { stop_.request_stop(); }

    mesh_call& call_;
    stop_source stop_;
    const environment* outer_ = nullptr;
    std::optional<environment> env_;
};

}  // namespace detail
}  // namespace sluice
