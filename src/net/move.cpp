// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <exception>
#include <functional>
#include <new>
#include <utility>

#include "net/connection.hpp"
#include "net/net_context.hpp"
#include "runtime/home_check.hpp"
#include "sluice/on.hpp"
#include "sluice/task_dump.hpp"
#include "sluice/tcp_stream.hpp"
#include "sluice/this_coro.hpp"

namespace sluice {

namespace {

using detail::connection;
using detail::kernel;
using detail::net_context;

//! Waits until nothing of the connection is at the kernel.
class quiet_awaiter final : public detail::waiter {
public:
    explicit quiet_awaiter(connection& c) noexcept : connection_(c) {}
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (env.stop.stop_requested()) {
            cancelled_ = true;
            yield(h, env);
            return true;
        }
        connection_.pause(*this);
        if (connection_.quiet()) {
            connection_.stop_pausing();
            return false;
        }
        wait(h, env);
        return true;
    }
    result<void> await_resume() const noexcept {
        if (cancelled_) return cancelled_error();
        return {};
    }
    void describe(await_description& into) const override {
        into.say("what a stream that moves has in flight");
    }
    void on_stop() noexcept override {
        cancelled_ = true;
        connection_.stop_pausing();
        wake();
    }

private:
    connection& connection_;
    bool cancelled_ = false;
};

//! What crosses over, in the frame of the coroutine that waits for it.
struct cargo {
    cargo(connection& from, int second) noexcept
        : here(from),
          descriptor(from.descriptor()),
          duplicate(second),
          shared(from.shared() || second >= 0),
          tries_zero_copy(from.sending().tries_zero_copy()) {
        here.receiving().give_up(received);
        broken = here.sending().broken();
        here.sending().pause();
    }
    cargo(const cargo&) = delete;
    cargo& operator=(const cargo&) = delete;
    // With both set, the coroutine was destroyed by a reactor that could not wait: nobody has the
    // handle.
    ~cargo() {
        kernel& below = here.net().below();
        if (there != nullptr) {
            left_here();
            detail::drop_connection(*there);
        }
        if (duplicate >= 0) below.close(duplicate);
    }

    //! It has moved.
    void left_here() noexcept {
        if (here.moved_away(duplicate)) duplicate = -1;
    }

    //! It stays.
    void put_back() noexcept {
        here.receiving().adopt(received);
        here.receiving().go_on();
        here.sending().go_on();
    }

    connection& here;
    int descriptor;
    int duplicate;  // for what is left here; -1: nothing
    bool shared;
    bool tries_zero_copy;
    detail::brief_error broken;
    detail::recv_source::remains received;
    connection* there = nullptr;
};

// On the target. Takes everything or nothing.
result<void> unload(cargo& c) {
    auto net = net_context::of(*reactor::current());
    if (!net) return net.error();
    if ((*net)->fixed()) return errno_error(EOPNOTSUPP);
    if (auto allowed = (*net)->allows(c.here.mode()); !allowed) return allowed;
    try {
        c.there = &connection::create(**net, c.descriptor, nullptr, c.here.mode(), c.shared);
    } catch (const std::bad_alloc&) {
        return errno_error(ENOMEM);
    }
    c.there->receiving().adopt(c.received);
    c.there->sending().set_broken(c.broken);
    if (!c.tries_zero_copy) c.there->sending().set_tries_zero_copy(false);
    ++(*net)->stats().moved_in;
    return {};
}

//! Until the connection is quiet, and nobody has begun to send or receive meanwhile.
task<result<void>> quieten(connection& here) {
    do {
        quiet_awaiter quiet(here);
        auto waited = co_await quiet;
        if (!waited) co_return waited;
        if (here.receiving().has_waiter()) co_return errno_error(EBUSY);
    } while (!here.quiet());
    co_return result<void>{};
}

//! By which zero-copy sends that are not over can be ended from here; -1 when there are none, else
//! the negative errno (no EPERM, which is 1, among them).
int duplicate_if_held(const connection& here) noexcept {
    return here.held_sends() == 0 ? -1 : here.net().below().duplicate(here.descriptor());
}

}  // namespace

task<result<void>> tcp_stream::move_to(unsigned index) {
    reactor& home = co_await this_coro::reactor();
    if (index == home.index()) co_return result<void>{};
    connection& here = *connection_;
    detail::check_home(here.net().home(), "a tcp_stream");
    if (here.net().fixed()) co_return errno_error(EOPNOTSUPP);
    if (here.receiving().has_waiter()) co_return errno_error(EBUSY);
    const detail::connection_pin pin(here);
    if (!here.make_extras()) co_return errno_error(ENOMEM);
    auto quiet = co_await quieten(here);
    if (!quiet) {
        here.receiving().go_on();
        co_return quiet;
    }
    const int duplicate = duplicate_if_held(here);
    if (duplicate < -1) {
        here.receiving().go_on();
        co_return errno_error(-duplicate);
    }
    cargo c(here, duplicate);
    result<void> outcome;
    std::exception_ptr thrown;
    try {
        outcome = co_await on(index, unload, std::ref(c));
    } catch (...) {
        thrown = std::current_exception();
    }
    if (c.there == nullptr) {
        c.put_back();
        if (thrown) std::rethrow_exception(thrown);
        co_return outcome;
    }
    connection_ = std::exchange(c.there, nullptr);
    c.left_here();
    co_return result<void>{};
}

}  // namespace sluice
