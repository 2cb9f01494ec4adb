// SPDX-License-Identifier: Apache-2.0
#include "net/acceptor.hpp"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <new>
#include <stdexcept>

#include "net/accept_exchange.hpp"
#include "net/descriptor_budget.hpp"
#include "net/net_context.hpp"
#include "runtime/home_check.hpp"
#include "sluice/log.hpp"
#include "sluice/task_dump.hpp"
#include "sluice/timeout.hpp"

namespace sluice::detail {

namespace {
constexpr std::uint32_t largest_burst =
    1024;  // connections that a multishot accept may bring at once
constexpr auto retry_after = std::chrono::milliseconds(50);
}  // namespace

acceptor::acceptor(net_context& net, const listener_group& group, unsigned socket)
    : operation(prepare, complete),
      net_(net),
      options_(group.options()),
      listening_(group.descriptor(socket)),
      socket_(socket),
      exchange_(group.exchange()),
      reserve_(net.below().reserve_descriptor()) {
    exchange_->join(*this, net_.home());
    net_.home().drain_listeners().add(*this);
    if (net_.home().draining()) on_drain();
    descriptor_budget::refresh();
    go_on();
}

acceptor::~acceptor() {
    net_.home().timers().cancel(*this);
    if (reserve_ >= 0) net_.below().close(reserve_);
}

void acceptor::wait(accept_awaiter& w) {
    if (waiter_ != nullptr)
        throw std::logic_error("sluice: two accepts on one listener at the same time");
    waiter_ = &w;
}

void acceptor::forget(accept_awaiter& w) noexcept {
    if (waiter_ == &w) waiter_ = nullptr;
}

void acceptor::prepare(operation& op, io_uring_sqe& sqe) noexcept {
    auto& self = static_cast<acceptor&>(op);
    const bool fixed = self.net_.fixed();
    self.multishot_ = !self.must_count();
    if (self.multishot_ && fixed)
        io_uring_prep_multishot_accept_direct(&sqe, self.listening_, nullptr, nullptr, 0);
    else if (self.multishot_)
        io_uring_prep_multishot_accept(&sqe, self.listening_, nullptr, nullptr, SOCK_CLOEXEC);
    else if (fixed)
        io_uring_prep_accept_direct(&sqe, self.listening_, nullptr, nullptr, 0,
                                    IORING_FILE_INDEX_ALLOC);
    else
        io_uring_prep_accept(&sqe, self.listening_, nullptr, nullptr, SOCK_CLOEXEC);
}

void acceptor::complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept {
    auto& self = static_cast<acceptor&>(op);
    if (result >= 0) self.on_connection(result);
    if ((flags & IORING_CQE_F_MORE) == 0) self.on_terminal(result);
}

void acceptor::on_connection(int descriptor) noexcept {
    descriptor_budget::acquired();
    ++net_.stats().accepted;
    if (exhausted_) exhausted_ = false;
    if (!hand_over(descriptor)) keep(descriptor);
    mind_limits();
}

void acceptor::take_over(int descriptor) noexcept {
    ++net_.stats().accepts_taken_over;
    keep(descriptor);
    mind_limits();
}

// True: it lives on another reactor, whose rx queue its packets come by.
bool acceptor::hand_over(int descriptor) noexcept {
    if (net_.fixed() || !options_.hand_over || !net_.owners().in_use() ||
        !net_.zero_copy_for(options_.mode) || closed_ || drained_)
        return false;
    net_stats& counts = net_.stats();
    const auto queue = net_.owners().queue_of(descriptor);
    const auto owner = queue ? net_.owners().first_owner(*queue) : std::nullopt;
    if (!owner) {
        ++counts.accepts_unknown;
        return false;
    }
    exchange_->learn(listening_, socket_, *queue);
    if (net_.owners().owns(*queue)) {
        ++counts.accepts_right;
        return false;
    }
    const unsigned sharers = net_.owners().sharers();
    for (unsigned i = 0; i < sharers; ++i) {
        if (!exchange_->hand_over(net_.home(), *owner + next_sharer_++ % sharers, descriptor))
            continue;
        ++counts.accepts_handed_over;
        return true;
    }
    ++counts.accepts_misplaced;
    return false;
}

void acceptor::keep(int descriptor) noexcept {
    try {
        if (closed_) {
            close_descriptor(descriptor);
            return;
        }
        accepted_.push_back(descriptor);
    } catch (const std::bad_alloc&) {
        ++net_.stats().accept_refused;
        close_descriptor(descriptor);
        return;
    }
    waiting_.store(accepted_.size(), std::memory_order_relaxed);
    if (has_result()) wake_waiter();
}

void acceptor::mind_limits() noexcept {
    if (closed_ || drained_) return;
    if (must_pause())
        pause();
    else if (multishot_ && must_count())
        net_.io().cancel(*this);  // goes on one at a time
}

void acceptor::on_terminal(std::int32_t result) noexcept {
    if (closed_) {
        destroy_if_unused();
        return;
    }
    if (drained_) {
        if (has_result()) wake_waiter();
        return;
    }
    switch (result < 0 ? -result : 0) {
        case EMFILE:
        case ENFILE:
            exhausted_ = true;
            descriptor_budget::refresh();
            pause();
            if (options_.refuse_when_exhausted) refuse_one();
            break;
        case ENOMEM:
        case ENOBUFS:
        case EAGAIN: pause(); break;
        case EBADF:
        case EINVAL:
        case ENOTSOCK:
        case EOPNOTSUPP:
            failed_ = errno_error(-result);
            wake_waiter();
            break;
        default:  // a connection that died in the queue, a cancel that pause() asked for, no error
            go_on();
    }
}

bool acceptor::has_result() const noexcept {
    check_home(net_.home(), "a tcp_listener");
    // What the kernel accepts until it has heard of the drain is served: the client knows of it.
    return (!accepted_.empty() && !full()) || failed_ || (drained_ && accepted_.empty() && !live());
}

// A full table of registered descriptors loses the connection, so none is accepted without a slot.
bool acceptor::scarce() const noexcept {
    return net_.fixed() ? descriptors_left() <= 0
                        : descriptor_budget::scarce(options_.descriptor_headroom);
}

std::int64_t acceptor::descriptors_left() const noexcept {
    if (!net_.fixed()) return descriptor_budget::left();
    return net_.free_slots() - static_cast<std::int64_t>(accepted_.size());
}

bool acceptor::full() const noexcept {
    return options_.max_connections != 0 && connections_ >= options_.max_connections;
}

bool acceptor::must_pause() const noexcept {
    const std::size_t waiting = accepted_.size();
    if (waiting >= options_.max_pending_accepts) return true;
    if (options_.max_connections != 0 && connections_ + waiting >= options_.max_connections)
        return true;
    return scarce();
}

// A multishot accept takes the whole backlog before its first CQE is seen. Near a limit connections
// are accepted one at a time.
bool acceptor::must_count() const noexcept {
    if (options_.max_connections != 0) return true;
    return descriptors_left() < std::int64_t{options_.descriptor_headroom} + largest_burst;
}

void acceptor::pause() noexcept {
    if (!std::exchange(paused_, true)) ++net_.stats().accept_pauses;
    warn_if_scarce();
    net_.io().cancel(*this);
    retry_later();
}

// Once: the counter tells how often.
void acceptor::warn_if_scarce() noexcept {
    if (warned_ || !scarce()) return;
    warned_ = true;
    logger()->warn("reactor {}: descriptors are scarce, accepting pauses until some are closed: "
                   "raise {}",
                   net_.home().index(),
                   net_.fixed() ? "registered_descriptor_slots and RLIMIT_NOFILE (ulimit -n)"
                                : "RLIMIT_NOFILE (ulimit -n)");
}

// Arms the accept unless there is a reason not to. Called whenever a reason may have gone.
void acceptor::go_on() noexcept {
    if (live() || closed_ || drained_ || failed_ || net_.home().abandoned()) return;
    if (must_pause()) {
        pause();
        return;
    }
    paused_ = false;
    net_.home().timers().cancel(*this);
    net_.io().submit(*this);
}

void acceptor::retry_later() noexcept {
    if (armed() || drained_ || closed_) return;
    net_.home().timers().insert(*this, deadline_after(net_.home(), retry_after));
}

void acceptor::on_timer() noexcept {
    if (exhausted_) descriptor_budget::refresh();
    exhausted_ = false;
    go_on();
    if (paused_) retry_later();
}

// The client learns at once that there is no room, instead of waiting in the backlog.
void acceptor::refuse_one() noexcept {
    if (reserve_ < 0) return;
    net_.below().close(reserve_);
    const int descriptor = net_.below().accept(listening_);
    if (descriptor >= 0) {
        ++net_.stats().accept_refused;
        net_.below().close(descriptor);
    }
    reserve_ = net_.below().reserve_descriptor();
}

result<tcp_stream> acceptor::take() {
    if (accepted_.empty()) {
        if (failed_) return failed_;
        return error::draining;
    }
    const int descriptor = accepted_.front();
    try {
        connection& c = connection::create(net_, descriptor, this, options_.mode);
        accepted_.pop_front();
        waiting_.store(accepted_.size(), std::memory_order_relaxed);
        ++connections_;
        if (paused_) go_on();
        return tcp_stream{c};
    } catch (const std::bad_alloc&) {
        accepted_.pop_front();
        waiting_.store(accepted_.size(), std::memory_order_relaxed);
        close_descriptor(descriptor);
        ++net_.stats().accept_refused;
        return errno_error(ENOMEM);
    }
}

void acceptor::connection_gone() noexcept {
    --connections_;
    if (closed_) {
        destroy_if_unused();
        return;
    }
    if (has_result()) wake_waiter();
    if (paused_ && !exhausted_) go_on();
}

void acceptor::on_drain() noexcept {
    drained_ = true;
    net_.home().timers().cancel(*this);
    net_.io().cancel(*this);
    if (has_result()) wake_waiter();
}

void acceptor::close() noexcept {
    closed_ = true;
    if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->cancel();
    net_.home().timers().cancel(*this);
    for (const int descriptor : exchange_->leave(*this)) close_descriptor(descriptor);
    while (!accepted_.empty()) {
        close_descriptor(accepted_.front());
        accepted_.pop_front();
    }
    net_.io().cancel(*this);
    destroy_if_unused();
}

// A connection that nobody will serve.
void acceptor::close_descriptor(int descriptor) noexcept {
    if (!net_.fixed()) {
        descriptor_budget::released();
        net_.below().close(descriptor);
        return;
    }
    try {  // only the ring can close a registered descriptor
        connection::create(net_, descriptor, nullptr).close(nullptr);
    } catch (const std::bad_alloc&) {
        descriptor_budget::released();  // its slot is lost until the ring ends
    }
}

void acceptor::wake_waiter() noexcept {
    if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->wake();
}

void acceptor::destroy_if_unused() noexcept {
    if (closed_ && !live() && connections_ == 0 && pins_ == 0) delete this;
}

// --- accept_awaiter

bool accept_awaiter::await_ready() const noexcept { return acceptor_.has_result(); }

bool accept_awaiter::await_suspend(std::coroutine_handle<> h, const environment& env) {
    if (env.stop.stop_requested()) {
        cancelled_ = true;
        yield(h, env);
        return true;
    }
    acceptor_.wait(*this);
    acceptor_.pin();
    pinned_ = true;
    wait(h, env);
    return true;
}

accept_awaiter::~accept_awaiter() {
    if (pinned_) acceptor_.unpin();
}

result<tcp_stream> accept_awaiter::await_resume() {
    if (cancelled_ || acceptor_.closed()) return cancelled_error();
    return acceptor_.take();
}

void accept_awaiter::on_stop() noexcept {
    acceptor_.forget(*this);
    // The drain came first: only the kernel's answer to it is missing.
    acceptor_.drained() ? wake() : cancel();
}

void accept_awaiter::describe(await_description& into) const {
    into.say("accept on fd " + std::to_string(acceptor_.descriptor()));
    if (acceptor_.paused()) into.say(", which pauses at a limit");
}

void accept_awaiter::cancel() noexcept {
    cancelled_ = true;
    wake();
}

}  // namespace sluice::detail
