// SPDX-License-Identifier: Apache-2.0
#include "sluice/reactor.hpp"

#include <spdlog/spdlog.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <vector>

#include "runtime/end_turn.hpp"
#include "runtime/fatal.hpp"
#include "runtime/helper_pool.hpp"
#include "runtime/home_check.hpp"
#include "runtime/kernel/kernel.hpp"
#include "runtime/mesh.hpp"
#include "runtime/reactor_io.hpp"
#include "runtime/run_turn.hpp"
#include "runtime/stall_detector.hpp"
#include "sluice/log.hpp"
#include "sluice/nursery.hpp"

namespace sluice {

namespace {

constinit thread_local reactor* current_reactor = nullptr;
std::mutex list_mutex;

//! Turns in which nobody is resumed.
[[gnu::noinline]] void wait_a_step(detail::reactor_io& io) noexcept {
    constexpr std::int64_t step_ns = 1'000'000;
    io.end_turn(true, io.below().now() + step_ns);
}

}  // namespace

//! Where scripts/gdb/sluice.py begins; by name, since a library has no debug information perhaps.
extern "C" constinit reactor* sluice_first_reactor;
constinit reactor* sluice_first_reactor = nullptr;

//! What other threads hand over. A lock, because foreign threads are rare visitors.
struct reactor::mailbox {
    std::mutex mutex;
    std::vector<std::function<void()>> posted;
    std::atomic<bool> pending{false};
    std::atomic<std::uint64_t> refused{0};
};

reactor::reactor(const reactor_options& options, unsigned index)
    : options_(options),
      index_(index),
      queue_(options.await_budget),
      frames_(detail::frame_pool::create()),
      mailbox_(std::make_unique<mailbox>()),
      root_(std::make_unique<nursery>(*this, nursery_options{on_failure::collect})) {}

result<std::unique_ptr<reactor>> reactor::create(const reactor_options& options, unsigned index) {
    return create_on(detail::linux_kernel(), options, index);
}

result<std::unique_ptr<reactor>> reactor::create_on(detail::kernel& kernel,
                                                    const reactor_options& options,
                                                    unsigned index) {
    if (current_reactor != nullptr) return errno_error(EEXIST);  // one a thread
    std::unique_ptr<reactor> made{new reactor(options, index)};
    if (auto started = made->start(kernel); !started) return started.error();
    return made;
}

result<void> reactor::start(detail::kernel& kernel) {
    current_reactor = this;
    {
        const std::lock_guard lock(list_mutex);
        next_reactor_ = std::exchange(sluice_first_reactor, this);
    }
    detail::frame_pool::current = frames_;
    io_ = std::make_unique<detail::reactor_io>(kernel, stats_);
    now_ = kernel.now();
    auto opened = io_->open(options_);
    // A simulated clock says nothing of stalls.
    if (opened && options_.stall_limit.count() > 0 && &kernel == &detail::linux_kernel())
        stalls_ = std::make_unique<detail::stall_detector>(*this);
    if (opened) logger()->info("reactor {}: {}", index_, io_->found().summary());
    return opened;
}

reactor::~reactor() {
    if (io_ && root_->children() + io_->live() != 0) {
        // Not run to its end, which is its user's right: what is left goes the hard way.
        abandon();
        finish_abandoning();
    }
    stalls_.reset();
    if (helpers_) helpers_->leave();
    helpers_.reset();
    locals_.clear();
    if (port_ != nullptr) port_->detach();
    root_.reset();
    io_.reset();
    current_reactor = nullptr;
    {
        const std::lock_guard lock(list_mutex);
        reactor** at = &sluice_first_reactor;
        while (*at != nullptr && *at != this) at = &(*at)->next_reactor_;
        if (*at == this) *at = next_reactor_;
    }
    frames_->retire();  // after all that lives in frames
}

reactor* reactor::current() noexcept { return current_reactor; }

const features& reactor::ring_features() const noexcept { return io_->found(); }

reactor_stats reactor::stats() const noexcept {
    reactor_stats s = stats_;
    s.ready = queue_.size();
    s.live_operations = io_->live();
    s.live_frames = frames_->live();
    s.pooled_frames = frames_->pooled();
    s.live_timers = timers_.size();
    s.posts_refused = mailbox_->refused.load(std::memory_order_relaxed);
    return s;
}

void reactor::update_time() noexcept { now_ = io_->below().now(); }

// What follows, and end_turn.hpp, is one function: what a turn costs is mostly what is asked once
// in each.

// Coroutines that do nothing but pass through the list need no look at the clock and the kernel
// after each pass. Few passes, because timers are late by them.
[[gnu::always_inline]] inline void reactor::run_ready() {
    constexpr int most_passes = 4;
    std::size_t ran = queue_.run_turn(options_.ready_turn);
    for (int pass = 1; pass < most_passes && !queue_.empty(); ++pass) {
        if (ran >= options_.ready_turn || io_->wants_turn_to_end()) break;
        const std::size_t more = queue_.run_turn(options_.ready_turn - ran);
        if (more == 0) break;
        ran += more;
    }
    stats_.resumes += ran;
}

bool reactor::idle() const noexcept {
    return root_->children() == 0 && queue_.empty() && io_->live() == 0;
}

// Neighbours end together, because any of them may still need the others.
[[gnu::always_inline]] inline bool reactor::finished() noexcept {
    if (!draining_ && !until_idle_) return false;
    return port_ != nullptr ? port_->finished() : idle();
}

[[gnu::always_inline]] inline void reactor::turn() {
    ++stats_.turns;
    update_time();
    const std::int64_t begun = now_;
    if (stalls_) stalls_->turn_begins(begun);
    frames_->collect();
    locals_.collect();
    if (!arrivals_.empty()) take_arrivals();
    if (port_ != nullptr) port_->collect();
    if (mailbox_->pending.load(std::memory_order_acquire)) run_posted();
    stats_.timers_expired += timers_.expire(now_);
    run_ready();
    if (stalls_ && stalls_->turn_ended(begun, io_->below().now())) ++stats_.stalls;
    const bool ends = finished();  // asked each time, since it tells the neighbours too
    const bool waits = queue_.empty() && !ends && !abandoned_ && timers_.next_deadline() > now_;
    io_->end_turn(waits, timers_.next_deadline());
}

void reactor::run_loop() {
    while (abandoned_ || !queue_.empty() || !finished()) {
        if (abandoned_) {
            finish_abandoning();
            return;
        }
        turn();
    }
}

void reactor::run() { run_loop(); }

void reactor::run_until_idle() {
    until_idle_ = true;
    run_loop();
    until_idle_ = false;
}

void reactor::request_drain() noexcept {
    detail::check_home(*this, "request_drain() or request_stop()");
    if (std::exchange(draining_, true)) return;
    drain_listeners_.notify_all();
}

void reactor::request_stop() noexcept {
    request_drain();
    root_->request_stop();
    locals_.on_stop();
}

void reactor::abandon() noexcept {
    request_stop();
    abandoned_ = true;
    locals_.on_stop();
    queue_.halt();
    if (port_ != nullptr) port_->halt();
}

// Frames are not destroyed while other threads refer to them. Other reactors answer, because they
// are stopped as well; a blocking call has to return.
void reactor::wait_for_lent() {
    while (lent_ != 0) {
        if (port_ != nullptr) port_->collect();
        take_arrivals();
        if (lent_ == 0) break;
        io_->cancel_everything();
        wait_a_step(*io_);
    }
}

void reactor::finish_abandoning() {
    wait_for_lent();
    // Two rounds: the operations that coroutines wait in, and those that their destructors start.
    for (int round = 0; round < 2; ++round) {
        const std::int64_t give_up = io_->below().now() + abandon_limit_ns;
        while (io_->live() != 0 && io_->below().now() < give_up) {
            io_->cancel_everything();
            wait_a_step(*io_);
        }
        if (io_->live() != 0)
            detail::fatal("reactor %u: %llu operations did not end when they were cancelled",
                          index_, static_cast<unsigned long long>(io_->live()));
        if (round != 0) break;
        stats_.tasks_destroyed += root_->destroy_children();
        if (port_ != nullptr) stats_.tasks_destroyed += port_->work().destroy_children();
    }
    if (port_ == nullptr) return;
    port_->leave();
    while (!port_->all_have_ended()) {
        wait_a_step(*io_);
        port_->collect();
    }
}

void reactor::post(std::function<void()> fn) {
    {
        const std::lock_guard lock(mailbox_->mutex);
        mailbox_->posted.push_back(std::move(fn));
    }
    if (!mailbox_->pending.exchange(true, std::memory_order_acq_rel)) io_->wake();
}

result<void> reactor::post_from_any_thread(std::function<void()> fn) {
    {
        const std::lock_guard lock(mailbox_->mutex);
        if (mailbox_->posted.size() >= options_.max_posts) {
            mailbox_->refused.fetch_add(1, std::memory_order_relaxed);
            return errno_error(ENOBUFS);
        }
        mailbox_->posted.push_back(std::move(fn));
    }
    if (!mailbox_->pending.exchange(true, std::memory_order_acq_rel)) io_->wake();
    return {};
}

void reactor::deliver(detail::delivery& a) noexcept {
    if (arrivals_.push(a)) io_->wake();
}

void reactor::take_arrivals() noexcept {
    for (detail::home_node* n = arrivals_.take_all(); n != nullptr;) {
        detail::home_node* next = n->next_home;
        static_cast<detail::delivery&>(*n).arrived();
        n = next;
    }
}

detail::helper_pool& reactor::helpers() {
    if (!helpers_) helpers_ = std::make_shared<detail::helper_pool>(options_.blocking_threads);
    return *helpers_;
}

void reactor::set_helpers(std::shared_ptr<detail::helper_pool> pool) noexcept {
    helpers_ = std::move(pool);
}

void reactor::drop_posted() {
    const std::lock_guard lock(mailbox_->mutex);
    mailbox_->posted.clear();
}

void reactor::run_posted() {
    mailbox_->pending.store(false, std::memory_order_release);
    std::vector<std::function<void()>> batch;
    {
        const std::lock_guard lock(mailbox_->mutex);
        batch.swap(mailbox_->posted);
    }
    for (auto& fn : batch) fn();
}

}  // namespace sluice
