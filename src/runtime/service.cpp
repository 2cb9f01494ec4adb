// SPDX-License-Identifier: Apache-2.0
#include "sluice/service.hpp"

#include <spdlog/spdlog.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <thread>

#include "runtime/helper_pool.hpp"
#include "runtime/kernel/process.hpp"
#include "runtime/kernel/timed_wait.hpp"
#include "runtime/mesh.hpp"
#include "sluice/cpu_set.hpp"
#include "sluice/log.hpp"
#include "sluice/timeout.hpp"

namespace sluice {

namespace {

//! The phases of a stop, on the reactor's own thread: its timer ends one and begins the next.
class stop_sequence final : private detail::timer_node {
public:
    stop_sequence(reactor& home, const service_options& options) noexcept
        : home_(home), options_(options) {}
    ~stop_sequence() { home_.timers().cancel(*this); }

    void advance() noexcept {
        home_.timers().cancel(*this);
        switch (phase_) {
            case phase::running: drain(); break;
            case phase::draining: cancel(); break;
            case phase::cancelling: break;  // only time ends this one
        }
    }

    [[nodiscard]] std::size_t tasks_at_cancel() const noexcept { return tasks_at_cancel_; }

private:
    enum class phase { running, draining, cancelling };

    void drain() noexcept {
        phase_ = phase::draining;
        home_.request_drain();
        arm(options_.drain_timeout);
    }
    void cancel() noexcept {
        phase_ = phase::cancelling;
        tasks_at_cancel_ = home_.root().children();
        home_.request_stop();
        arm(options_.cancel_timeout);
    }
    void on_timer() noexcept override {
        if (phase_ == phase::draining)
            cancel();
        else
            home_.abandon();
    }
    void arm(std::chrono::nanoseconds after) noexcept {
        home_.timers().insert(*this, detail::deadline_after(home_, after));
    }

    reactor& home_;
    const service_options& options_;
    phase phase_ = phase::running;
    std::size_t tasks_at_cancel_ = 0;
};

}  // namespace

//! Where the threads wait for each other: no reactor is destroyed while another may wake it.
struct service::meeting {
    explicit meeting(std::size_t threads) : missing(threads) {}

    void arrive() {
        std::unique_lock lock(mutex);
        if (--missing == 0) all_here.notify_all();
        all_here.wait(lock, [this] { return missing == 0; });
    }

    std::mutex mutex;
    std::condition_variable all_here;
    std::size_t missing;
};

struct service::worker {
    std::thread thread;
    std::promise<result<void>> started;
    std::promise<bool> go;          // false: another reactor could not be started
    std::promise<result<void>> up;  // what was added has started, too
    std::promise<void> ended;
    std::mutex mutex;  // of the pointers, which foreign threads follow
    reactor* home = nullptr;
    stop_sequence* stop = nullptr;
    reactor_report report;
    std::exception_ptr failure;
    // The reactor's thread only.
    bool is_up = false;
    std::size_t shards_up = 0;

    void run(service& owner, const start_function& begin, bool until_idle);
    void work(service& owner, reactor& r, const start_function& begin, bool until_idle);
    bool post(std::function<void(reactor&)> fn);
    result<void> offer(std::function<void(reactor&)> fn);
    void publish(reactor* r, stop_sequence* s) {
        const std::lock_guard lock(mutex);
        home = r;
        stop = s;
    }
    void set_up(result<void> outcome, std::exception_ptr thrown = nullptr) {
        if (std::exchange(is_up, true)) return;
        if (thrown)
            up.set_exception(std::move(thrown));
        else
            up.set_value(outcome);
    }
};

//! Starts and stops what was added, in step with the other reactors.
class service::lifecycle final : public detail::mesh_lifecycle {
public:
    explicit lifecycle(service& owner) noexcept : owner_(owner) {}

    task<> go_up(reactor& home, const start_function& begin) {
        worker& w = *owner_.workers_[home.index()];
        detail::mesh_port& port = *home.port();
        for (auto& s : owner_.sharded_) {
            result<void> outcome;
            std::exception_ptr thrown;
            try {
                outcome = co_await s->start(home);
            } catch (...) {
                thrown = std::current_exception();
            }
            const auto step = static_cast<unsigned>(++w.shards_up);
            if (!outcome || thrown) failed_at_.store(step);
            port.step_taken(step);
            detail::mesh_port::step_awaiter all(port, step);
            co_await all;
            if (failed_at_.load() != step)
                continue;  // another may have failed in the next one already
            w.set_up(outcome, std::move(thrown));
            co_return;
        }
        w.set_up({});
        begin(home);
    }

    task<> go_down(reactor& home) override {
        worker& w = *owner_.workers_[home.index()];
        detail::mesh_port& port = *home.port();
        for (unsigned step = first_step_down; w.shards_up != 0; ++step) {
            detail::sharded_base& last = *owner_.sharded_[w.shards_up - 1];
            try {
                co_await last.stop(home);
            } catch (...) {
                if (!w.failure) w.failure = std::current_exception();
                home.count_task_failure();
            }
            port.step_taken(step);
            detail::mesh_port::step_awaiter all(port, step);
            co_await all;
            last.destroy(home);
            --w.shards_up;
        }
    }

    void destroyed(reactor& home) noexcept override {
        for (auto s = owner_.sharded_.rbegin(); s != owner_.sharded_.rend(); ++s)
            (*s)->destroy(home);
        owner_.workers_[home.index()]->shards_up = 0;
    }

private:
    static constexpr unsigned first_step_down = 1U << 20;
    service& owner_;
    std::atomic<unsigned> failed_at_{0};  // nobody goes on from there
};

void service::worker::run(service& owner, const start_function& begin, bool until_idle) {
    const service_options& options = owner.options_;
    if (options.pin)
        if (auto pinned = detail::pin_to_cpu(report.cpu); !pinned)
            logger()->warn("reactor {}: can't be kept on CPU {}: {}", report.index, report.cpu,
                           pinned.error().message());
    auto made = reactor::create(options.reactor, report.index);
    if (!made) {
        started.set_value(made.error());
        return;
    }
    reactor& r = **made;
    stop_sequence sequence(r, options);
    owner.mesh_->port(report.index).attach(r);
    r.set_helpers(owner.helpers_);
    publish(&r, &sequence);
    started.set_value({});
    if (go.get_future().get()) work(owner, r, begin, until_idle);
    r.drop_posted();
    report.stats = r.stats();
    report.tasks_at_cancel = sequence.tasks_at_cancel();
    report.tasks_destroyed = report.stats.tasks_destroyed;
    report.live_operations = report.stats.live_operations;
    report.live_frames = report.stats.live_frames;
    report.task_failures = report.stats.task_failures;
    if (auto first = r.root().first_exception()) failure = first;
}

bool service::worker::post(std::function<void(reactor&)> fn) {
    const std::lock_guard lock(mutex);
    if (home == nullptr) return false;
    home->post([fn = std::move(fn), r = home] { fn(*r); });
    return true;
}

void service::worker::work(service& owner, reactor& r, const start_function& begin,
                           bool until_idle) {
    if (owner.sharded_.empty()) {
        set_up({});
        begin(r);
    } else {
        r.spawn([&owner, &begin, &r] { return owner.lifecycle_->go_up(r, begin); });
    }
    until_idle ? r.run_until_idle() : r.run();
    set_up(cancelled_error());  // unless it was
    publish(nullptr, nullptr);
    owner.meeting_->arrive();
}

result<void> service::worker::offer(std::function<void(reactor&)> fn) {
    const std::lock_guard lock(mutex);
    if (home == nullptr) return error::draining;
    return home->post_from_any_thread([fn = std::move(fn), r = home] {
        if (!r->port()->going_down()) fn(*r);
    });
}

service::service(service_options options) : options_(std::move(options)) {
    if (options_.cpus.empty()) options_.cpus = usable_cpus();
}

service::~service() {
    if (!running_) return;
    request_stop();
    request_stop();
    wait();
}

result<void> service::start_with(const start_function& begin, bool until_idle) {
    if (running_) return errno_error(EALREADY);
    running_ = true;
    workers_.clear();
    boost::system::error_code failed;
    lifecycle_ = std::make_unique<lifecycle>(*this);
    mesh_ = std::make_unique<detail::mesh>(reactors(), options_.reactor.call_queue,
                                           sharded_.empty() ? nullptr : lifecycle_.get());
    helpers_ = std::make_shared<detail::helper_pool>(options_.reactor.blocking_threads);
    meeting_ = std::make_unique<meeting>(reactors());
    workers_.reserve(reactors());
    for (unsigned i = 0; i < reactors() && !failed; ++i) {
        auto& w = *workers_.emplace_back(std::make_unique<worker>());
        w.report.index = i;
        w.report.cpu = options_.cpus[i];
        try {
            w.thread = std::thread([this, &w, begin, until_idle] {
                w.run(*this, begin, until_idle);
                w.ended.set_value();
            });
        } catch (const std::system_error& e) {
            failed = errno_error(e.code().value());
            workers_.pop_back();
        }
    }
    for (auto& w : workers_)
        if (auto started = w->started.get_future().get(); !started) failed = started.error();
    for (auto& w : workers_) w->go.set_value(!failed);
    if (failed) {
        for (auto& w : workers_) w->thread.join();
        clear();
        workers_.clear();
        return failed;
    }
    std::exception_ptr thrown;
    for (auto& w : workers_) {
        try {
            if (auto up = w->up.get_future().get(); !up && !failed) failed = up.error();
        } catch (...) {
            if (!thrown) thrown = std::current_exception();
        }
    }
    if (!failed && !thrown) return {};
    request_stop();
    wait();
    if (thrown) std::rethrow_exception(thrown);
    return failed;
}

void service::clear() {
    running_ = false;
    helpers_.reset();
    mesh_.reset();
    meeting_.reset();
    lifecycle_.reset();
}

void service::add(std::unique_ptr<detail::sharded_base> made) {
    if (running_) throw std::logic_error("sluice: the service has been started");
    sharded_.push_back(std::move(made));
}

result<stop_report> service::run_with(const start_function& begin) {
    std::optional<detail::watched_signals> signals;
    std::vector<int> wanted;
    if (options_.handle_signals) wanted = {SIGINT, SIGTERM};
    if (options_.dump_on_sigquit) wanted.push_back(SIGQUIT);
    if (!wanted.empty()) {
        auto blocked = detail::watched_signals::block(wanted);
        if (!blocked) return blocked.error();
        signals.emplace(std::move(*blocked));
    }
    if (auto started = start_with(begin, true); !started) return started.error();
    if (!signals) return wait();
    std::thread watcher([&] {
        while (const int signal = signals->wait()) {
            if (signal == SIGQUIT) {
                std::fputs(to_string(dump_tasks()).c_str(), stderr);
                continue;
            }
            logger()->info("signal {}: stopping", signal);
            request_stop();
        }
    });
    stop_report report = wait();
    signals->interrupt();
    watcher.join();
    return report;
}

bool service::post(unsigned index, std::function<void(reactor&)> fn) {
    return workers_.at(index)->post(std::move(fn));
}

std::vector<task_dump> service::dump_tasks(const dump_limits& limits) {
    // Shared with reactors that answer when nobody waits any more.
    struct collection {
        explicit collection(std::size_t n) : answers(n), arrivals(n) {}
        std::mutex mutex;
        std::vector<task_dump> answers;
        detail::timed_countdown arrivals;

        void answer(std::size_t i, reactor& home, const dump_limits& limits) {
            task_dump made = sluice::dump_tasks(home, limits);
            const std::lock_guard lock(mutex);
            answers[i] = std::move(made);
        }
    };
    auto all = std::make_shared<collection>(workers_.size());
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        worker& w = *workers_[i];
        all->answers[i] = {.reactor = w.report.index, .answered = false};
        const std::lock_guard lock(w.mutex);
        if (w.home != nullptr && w.home != reactor::current()) {
            w.home->post([all, limits, i, home = w.home]() noexcept {
                all->answer(i, *home, limits);
                all->arrivals.arrive();
            });
            continue;
        }
        if (w.home != nullptr)
            all->answer(i, *w.home, limits);
        else
            all->answers[i].answered = true;  // it has ended
        all->arrivals.arrive();
    }
    all->arrivals.wait(options_.dump_timeout);
    const std::lock_guard lock(all->mutex);
    return all->answers;
}

result<void> service::offer(unsigned index, std::function<void(reactor&)> fn) {
    return workers_.at(index)->offer(std::move(fn));
}

void service::request_stop() noexcept {
    for (auto& w : workers_) {
        const std::lock_guard lock(w->mutex);
        if (w->home != nullptr) w->home->post([stop = w->stop] { stop->advance(); });
    }
}

stop_report service::wait() {
    stop_report report;
    for (auto& w : workers_) {
        w->ended.get_future().wait();
        w->thread.join();
        report.reactors.push_back(w->report);
        if (w->failure && !report.failure) report.failure = w->failure;
    }
    clear();
    return report;
}

bool stop_report::clean() const noexcept {
    if (failure) return false;
    for (const reactor_report& r : reactors)
        if (r.tasks_destroyed != 0 || r.live_operations != 0 || r.live_frames != 0) return false;
    return true;
}

std::string stop_report::to_string() const {
    std::string text;
    for (const reactor_report& r : reactors)
        text += fmt::format("reactor {} on CPU {}: {} tasks cancelled, {} destroyed, {} failed; "
                            "left: {} operations, {} frames\n",
                            r.index, r.cpu, r.tasks_at_cancel, r.tasks_destroyed, r.task_failures,
                            r.live_operations, r.live_frames);
    return text;
}

}  // namespace sluice
