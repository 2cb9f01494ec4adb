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
    explicit cargo(connection& from) noexcept : here(from), descriptor(from.descriptor()) {
        here.receiving().give_up(received);
        broken = here.sending().broken();
        here.sending().hold();
    }
    cargo(const cargo&) = delete;
    cargo& operator=(const cargo&) = delete;
    // With both set, the coroutine was destroyed by a reactor that could not wait: nobody has the
    // handle.
    ~cargo() {
        if (there == nullptr) return;
        here.moved_away();
        detail::drop_connection(*there);
    }

    //! It stays.
    void put_back() noexcept {
        here.receiving().adopt(received);
        here.receiving().go_on();
        here.sending().release();
    }

    connection& here;
    int descriptor;
    boost::system::error_code broken;
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
        c.there = &connection::create(**net, c.descriptor, nullptr, c.here.mode());
    } catch (const std::bad_alloc&) {
        return errno_error(ENOMEM);
    }
    c.there->receiving().adopt(c.received);
    c.there->sending().set_broken(c.broken);
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

}  // namespace

task<result<void>> tcp_stream::move_to(unsigned index) {
    reactor& home = co_await this_coro::reactor();
    if (index == home.index()) co_return result<void>{};
    connection& here = *connection_;
    detail::check_home(here.net().home(), "a tcp_stream");
    if (here.net().fixed()) co_return errno_error(EOPNOTSUPP);
    if (here.receiving().has_waiter()) co_return errno_error(EBUSY);
    const detail::connection_pin pin(here);
    auto quiet = co_await quieten(here);
    if (!quiet) {
        here.receiving().go_on();
        co_return quiet;
    }
    cargo c(here);
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
    here.moved_away();
    co_return result<void>{};
}

}  // namespace sluice
