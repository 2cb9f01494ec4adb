// SPDX-License-Identifier: Apache-2.0
#include "runtime/helper_pool.hpp"

#include <algorithm>
#include <system_error>

#include "sluice/reactor.hpp"
#include "sluice/reactor_local.hpp"
#include "sluice/task_dump.hpp"

namespace sluice::detail {

//! The calls of one reactor: so many in the pool, the others in line here, so that a reactor with
//! many does not keep the others out.
class blocking_line final : public reactor_local {
public:
    explicit blocking_line(reactor& home) noexcept : home_(home) {}

    result<void> enter(blocking_job& job) {
        if (in_pool_ < std::max(home_.options().blocking_queue, 1U)) return admit(job);
        job.state_ = blocking_job::state::in_line;
        job.next_ = nullptr;
        job.previous_ = last_;
        (last_ != nullptr ? last_->next_ : first_) = &job;
        last_ = &job;
        return {};
    }
    void leave(blocking_job& job) noexcept {
        (job.previous_ != nullptr ? job.previous_->next_ : first_) = job.next_;
        (job.next_ != nullptr ? job.next_->previous_ : last_) = job.previous_;
        job.state_ = blocking_job::state::home;
    }
    void back(blocking_job& job) noexcept {
        job.state_ = blocking_job::state::home;
        --home_.lent();
        --in_pool_;
        if (home_.abandoned()) return;
        while (first_ != nullptr && in_pool_ < std::max(home_.options().blocking_queue, 1U)) {
            blocking_job& next = *first_;
            leave(next);
            if (auto admitted = admit(next); !admitted) {
                next.failure_ = admitted.error();
                next.wake();
            }
        }
    }

private:
    result<void> admit(blocking_job& job) {
        job.state_ = blocking_job::state::in_pool;
        ++in_pool_;
        ++home_.lent();
        auto pushed = home_.helpers().push(job);
        if (!pushed) {
            job.state_ = blocking_job::state::home;
            --in_pool_;
            --home_.lent();
        }
        return pushed;
    }

    reactor& home_;
    std::uint32_t in_pool_ = 0;
    blocking_job* first_ = nullptr;
    blocking_job* last_ = nullptr;
};

// --- blocking_job

bool blocking_job::await_suspend(std::coroutine_handle<> h, const environment& env) {
    if (env.stop.stop_requested()) {
        failure_ = cancelled_error();
        yield(h, env);
        return true;
    }
    home_ = &env.home;
    line_ = &env.home.locals().get<blocking_line>(env.home);
    // The helper may be ready before this returns, but it is heard of in a later turn only.
    if (auto entered = line_->enter(*this); !entered) {
        failure_ = entered.error();
        yield(h, env);
        return true;
    }
    wait(h, env);
    return true;
}

void blocking_job::on_stop() noexcept {
    if (state_ == state::in_line) {
        leave_line();
    } else {
        if (!home_->helpers().remove(*this)) return;  // it is running: its end is waited for
        line_->back(*this);
    }
    failure_ = cancelled_error();
    wake();
}

void blocking_job::arrived() noexcept {
    line_->back(*this);
    wake();
}

void blocking_job::describe(await_description& into) const {
    into.say(state_ == state::in_line ? "a blocking call, in line for the helper threads"
                                      : "a blocking call, with the helper threads");
}

void blocking_job::leave_line() noexcept { line_->leave(*this); }

// --- helper_pool

helper_pool::helper_pool(unsigned threads) noexcept : limit_(std::max(threads, 1U)) {}

helper_pool::~helper_pool() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    for (auto& t : threads_) t.join();
}

result<void> helper_pool::push(blocking_job& job) {
    {
        const std::lock_guard lock(mutex_);
        if (waiting_ >= idle_ && threads_.size() < limit_) {
            try {
                threads_.emplace_back([this] { run(); });
            } catch (const std::exception&) {
                // Fewer do as well.
                if (threads_.empty()) return errno_error(EAGAIN);
            }
        }
        job.begun_ = false;
        job.next_ = nullptr;
        job.previous_ = tail_;
        (tail_ != nullptr ? tail_->next_ : head_) = &job;
        tail_ = &job;
        ++waiting_;
    }
    changed_.notify_one();
    return {};
}

bool helper_pool::remove(blocking_job& job) noexcept {
    const std::lock_guard lock(mutex_);
    if (job.begun_) return false;
    (job.previous_ != nullptr ? job.previous_->next_ : head_) = job.next_;
    (job.next_ != nullptr ? job.next_->previous_ : tail_) = job.previous_;
    --waiting_;
    return true;
}

std::size_t helper_pool::threads() noexcept {
    const std::lock_guard lock(mutex_);
    return threads_.size();
}

void helper_pool::run() noexcept {
    std::unique_lock lock(mutex_);
    for (;;) {
        ++idle_;
        changed_.wait(lock, [this] { return head_ != nullptr || ending_; });
        --idle_;
        if (head_ == nullptr) return;
        blocking_job& job = *head_;
        head_ = job.next_;
        (head_ != nullptr ? head_->previous_ : tail_) = nullptr;
        --waiting_;
        job.begun_ = true;
        lock.unlock();
        job.call();
        lock.lock();
        // Under the lock, so that leave() can wait for it.
        job.home_->deliver(job);
    }
}

}  // namespace sluice::detail
