// SPDX-License-Identifier: Apache-2.0
//! Keeps others out of a section that has awaits in it.
#pragma once

#include <utility>

#include "sluice/result.hpp"
#include "sluice/wait_line.hpp"

namespace sluice {

class mutex;

//! Holds a mutex and unlocks it at the end of its scope. Move-only; may be empty.
class [[nodiscard]] mutex_lock {
public:
    mutex_lock() = default;
    mutex_lock(mutex_lock&& o) noexcept : mutex_(std::exchange(o.mutex_, nullptr)) {}
    mutex_lock& operator=(mutex_lock&& o) noexcept {
        if (this != &o) {
            unlock();
            mutex_ = std::exchange(o.mutex_, nullptr);
        }
        return *this;
    }
    ~mutex_lock() { unlock(); }

    //! Unlocks now. Does nothing when it is empty.
    void unlock() noexcept;

    [[nodiscard]] bool owns_lock() const noexcept { return mutex_ != nullptr; }
    explicit operator bool() const noexcept { return owns_lock(); }

private:
    friend class mutex;
    explicit mutex_lock(mutex& m) noexcept : mutex_(&m) {}
    mutex* mutex_ = nullptr;
};

//! For the coroutines of one reactor; not movable. A section without an await in it needs none:
//! nothing else runs meanwhile. First come, first served: unlocking hands the mutex to the one that
//! has waited longest, so that nobody overtakes. Not recursive. Destroying it while it is locked or
//! waited for ends the program.
class mutex {
public:
    class [[nodiscard]] lock_awaiter;

    mutex() = default;
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    ~mutex() {
        if (locked_) detail::destroyed_in_use("mutex", "it is locked or waited for");
    }

    //! Waits for the mutex: `auto lock = co_await m.lock();`. Gives result<mutex_lock>; cancelled:
    //! ECANCELED, and the mutex has not been taken. Does not allocate.
    lock_awaiter lock() noexcept;

    //! The mutex if it is free, else an empty lock.
    mutex_lock try_lock() noexcept {
        if (locked_) return {};
        locked_ = true;
        return mutex_lock{*this};
    }

    [[nodiscard]] bool locked() const noexcept { return locked_; }

private:
    friend class mutex_lock;

    void unlock() noexcept {
        if (line_.first() != nullptr)
            line_.grant_first();  // still locked: it changes hands
        else
            locked_ = false;
    }

    bool locked_ = false;
    detail::wait_line line_{"mutex"};
};

inline void mutex_lock::unlock() noexcept {
    if (mutex_ != nullptr) std::exchange(mutex_, nullptr)->unlock();
}

class mutex::lock_awaiter final : public detail::wait_node {
public:
    explicit lock_awaiter(mutex& m) noexcept : mutex_(m) {}
    lock_awaiter(lock_awaiter&&) = default;
    ~lock_awaiter() {
        if (take_grant()) mutex_.unlock();
    }

    // Even a free mutex is taken in await_suspend() only: between await_ready() and await_resume()
    // others may run.
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (ends_cancelled(h, env)) return true;
        if (!std::exchange(mutex_.locked_, true)) {
            mutex_.line_.admit(*this);
            return false;
        }
        mutex_.line_.enter(*this, h, env);
        return true;
    }
    result<mutex_lock> await_resume() noexcept {
        if (!take_grant()) return cancelled_error();
        return mutex_lock{mutex_};
    }
    void on_stop() noexcept override { withdraw(); }

private:
    mutex& mutex_;
};

inline mutex::lock_awaiter mutex::lock() noexcept { return lock_awaiter{*this}; }

}  // namespace sluice
