// SPDX-License-Identifier: Apache-2.0
#include "sluice/stream_awaiters.hpp"

#include <cerrno>

#include "net/connection.hpp"
#include "net/net_context.hpp"
#include "runtime/home_check.hpp"
#include "sluice/task_dump.hpp"
#include "sluice/tcp_stream.hpp"

namespace sluice::detail {

namespace {
// The reactor of an orphan is no more.
void check_home(const connection& c) noexcept {
    if (!c.orphaned()) detail::check_home(c.net().home(), "a tcp_stream");
}

// " on fd 7 from 192.0.2.1:80", with as much of it as is known.
std::string place_of(const connection& c, const char* direction) {
    const auto fixed = c.net().fixed();
    std::string text = (fixed ? " on slot " : " on fd ") + std::to_string(c.descriptor());
    if (auto peer = peer_of(c)) text += direction + peer->to_string();
    return text;
}

}  // namespace

void drop_connection(connection& c) noexcept {
    if (c.orphaned())
        c.destroy_orphan();
    else if (reactor::current() == &c.net().home())
        c.close(nullptr);
    else
        c.net().drop_away(c);
}

// --- receiving

bool receive_awaiter::await_ready() const noexcept {
    check_home(*connection_);
    return connection_->receiving().has_result();
}

bool receive_awaiter::await_suspend(std::coroutine_handle<> h, const environment& env) {
    if (env.stop.stop_requested()) {
        cancelled_ = true;
        yield(h, env);
        return true;
    }
    check_home(*connection_);
    connection_->receiving().wait(*this);
    wait(h, env);
    return true;
}

void receive_awaiter::on_stop() noexcept {
    cancelled_ = true;
    connection_->receiving().forget(*this);
    wake();
}

void receive_awaiter::describe(await_description& into) const {
    into.say("recv" + place_of(*connection_, " from "));
}

result<rx_buffer> recv_awaiter::await_resume() {
    if (cancelled_) return cancelled_error();
    return connection_->receiving().take();
}

result<std::size_t> recv_into_awaiter::await_resume() {
    if (cancelled_) return cancelled_error();
    return connection_->receiving().take_into(to_);
}

// --- sending

bool send_call::await_suspend(std::coroutine_handle<> h, const environment& env) {
    check_home(*connection_);
    send_queue& queue = connection_->sending();
    if (env.stop.stop_requested() || !queue.takes_more()) {
        failed_ = env.stop.stop_requested() ? brief_error::of_errno(ECANCELED) : queue.refusal();
        yield(h, env);
        return true;
    }
    if (total_ == 0 && extent_ != send_extent::shutdown) return false;  // nothing to send
    wait(h, env);
    queue.push(*this);
    return true;
}

void send_call::on_stop() noexcept { connection_->sending().cancel(*this); }

void send_call::describe(await_description& into) const {
    std::string what = "shutdown";
    if (extent_ != send_extent::shutdown)
        what = "send of " + std::to_string(total_) + " bytes, " + std::to_string(sent_) + " sent,";
    if (unreleased_ != 0 && settled()) what += " the memory not yet free,";
    into.say(what + place_of(*connection_, " to "));
}

// --- closing

bool close_awaiter::await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
    if (connection_ == nullptr) {  // ready, and cancelled
        yield(h, env);
        return true;
    }
    check_home(*connection_);
    wait(h, env);
    std::exchange(connection_, nullptr)->close(this);
    return true;
}

void close_awaiter::describe(await_description& into) const { into.say("close"); }

}  // namespace sluice::detail
