// SPDX-License-Identifier: Apache-2.0
//! Limits how much is in use at once.
#pragma once

#include <cstddef>
#include <utility>

#include "sluice/result.hpp"
#include "sluice/wait_line.hpp"

namespace sluice {

class semaphore;

//! Permits that were acquired, given back at the end of its scope. Move-only; may be empty.
class [[nodiscard]] semaphore_permit {
public:
    semaphore_permit() = default;
    semaphore_permit(semaphore_permit&& o) noexcept
        : semaphore_(o.semaphore_), count_(std::exchange(o.count_, 0)) {}
    semaphore_permit& operator=(semaphore_permit&& o) noexcept {
        if (this != &o) {
            release();
            semaphore_ = o.semaphore_;
            count_ = std::exchange(o.count_, 0);
        }
        return *this;
    }
    ~semaphore_permit() { release(); }

    //! Gives the permits back now.
    void release() noexcept;
    //! Keeps them taken: somebody else calls semaphore::release() for them. Returns how many.
    std::size_t forget() noexcept { return std::exchange(count_, 0); }

    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    explicit operator bool() const noexcept { return count_ != 0; }

private:
    friend class semaphore;
    semaphore_permit(semaphore& s, std::size_t n) noexcept : semaphore_(&s), count_(n) {}
    semaphore* semaphore_ = nullptr;
    std::size_t count_ = 0;
};

//! A number of permits, for the coroutines of one reactor; not movable. First come, first served,
//! whatever the size: while a big request waits for its permits, small ones that came later wait
//! behind it. Destroying it while coroutines wait in it ends the program.
class semaphore {
public:
    class [[nodiscard]] acquire_awaiter;

    explicit semaphore(std::size_t permits) noexcept : available_(permits) {}
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;

    //! Waits until `n` permits are free and nobody is before. Gives result<semaphore_permit>;
    //! cancelled: ECANCELED, and none were taken. Does not allocate. More permits than the
    //! semaphore will ever have are waited for until the await is cancelled.
    acquire_awaiter acquire(std::size_t n = 1) noexcept;

    //! `n` permits if they are free and nobody waits, else an empty permit.
    semaphore_permit try_acquire(std::size_t n = 1) noexcept {
        if (!can_take(n)) return {};
        available_ -= n;
        return {*this, n};
    }

    //! Adds permits: new ones, or those that were forgotten.
    void release(std::size_t n = 1) noexcept {
        available_ += n;
        serve();
    }

    [[nodiscard]] std::size_t available() const noexcept { return available_; }

private:
    [[nodiscard]] bool can_take(std::size_t n) const noexcept {
        return line_.first() == nullptr && n <= available_;
    }
    void serve() noexcept;

    std::size_t available_;
    detail::wait_line line_{"semaphore"};
};

inline void semaphore_permit::release() noexcept {
    if (count_ != 0) semaphore_->release(std::exchange(count_, 0));
}

class semaphore::acquire_awaiter final : public detail::wait_node {
public:
    acquire_awaiter(semaphore& s, std::size_t n) noexcept : semaphore_(s), count_(n) {}
    acquire_awaiter(acquire_awaiter&&) = default;
    ~acquire_awaiter() {
        if (take_grant()) semaphore_.release(count_);
    }

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (ends_cancelled(h, env)) return true;
        if (semaphore_.can_take(count_)) {
            semaphore_.available_ -= count_;
            semaphore_.line_.admit(*this);
            return false;
        }
        semaphore_.line_.enter(*this, h, env);
        return true;
    }
    result<semaphore_permit> await_resume() noexcept {
        if (!take_grant()) return cancelled_error();
        return semaphore_permit{semaphore_, count_};
    }
    void on_stop() noexcept override {
        withdraw();
        semaphore_.serve();  // who stood behind a big request may fit
    }

private:
    friend class semaphore;
    semaphore& semaphore_;
    std::size_t count_;
};

inline semaphore::acquire_awaiter semaphore::acquire(std::size_t n) noexcept { return {*this, n}; }

inline void semaphore::serve() noexcept {
    while (line_.first() != nullptr) {
        const auto& next = static_cast<acquire_awaiter&>(*line_.first());
        if (next.count_ > available_) return;
        available_ -= next.count_;
        line_.grant_first();
    }
}

}  // namespace sluice
