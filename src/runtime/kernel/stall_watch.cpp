// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/stall_watch.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice::detail {

namespace {

// How long the watcher waits for the handler.
constexpr std::chrono::milliseconds answer_limit{100};
constexpr std::chrono::milliseconds answer_step{1};
constexpr std::chrono::milliseconds shortest_interval{1};
// The handler and what the kernel put below it.
constexpr std::size_t own_frames = 3;

constinit thread_local watched_thread* watched_here = nullptr;

std::int64_t monotonic() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

//! The thread that watches all, while there are any.
class stall_watcher {
public:
    static stall_watcher& instance() {
        static stall_watcher w;
        return w;
    }

    void add(watched_thread& t) {
        const std::lock_guard starting(start_mutex_);
        const bool first = threads_.empty();
        if (first) install();
        {
            const std::lock_guard lock(mutex_);
            threads_.push_back(&t);
        }
        if (first)
            thread_ = std::thread([this] { run(); });
        else
            changed_.notify_all();  // its limit may be shorter
    }

    void remove(watched_thread& t) noexcept {
        const std::lock_guard starting(start_mutex_);
        {
            const std::lock_guard lock(mutex_);
            std::erase(threads_, &t);
            if (!threads_.empty()) return;
        }
        changed_.notify_all();
        thread_.join();
        ::sigaction(SIGURG, &before_, nullptr);
    }

private:
    static void handle(int signal, siginfo_t* info, void* context) noexcept {
        const int saved = errno;
        if (watched_here != nullptr) watched_thread::on_signal();
        const struct sigaction& old = instance().before_;
        if ((old.sa_flags & SA_SIGINFO) != 0)
            old.sa_sigaction(signal, info, context);
        else if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN)
            old.sa_handler(signal);
        errno = saved;
    }

    void install() {
        // The first call loads a library and allocates: not to happen in the handler.
        std::array<void*, 1> unused{};
        ::backtrace(unused.data(), 1);
        struct sigaction action {};
        action.sa_sigaction = handle;
        action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        ::sigaction(SIGURG, &action, &before_);
    }

    void run() noexcept {
        sigset_t all;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
        std::unique_lock lock(mutex_);
        while (!threads_.empty()) {
            auto shortest = threads_.front()->limit_;
            for (watched_thread* t : threads_) {
                shortest = std::min(shortest, t->limit_);
                t->check(monotonic());
            }
            changed_.wait_for(lock,
                              std::max<std::chrono::nanoseconds>(shortest / 4, shortest_interval));
        }
    }

    std::mutex start_mutex_;  // of the thread's start and end
    std::mutex mutex_;        // of the list, held during reports
    std::condition_variable changed_;
    std::vector<watched_thread*> threads_;
    std::thread thread_;
    struct sigaction before_ {};
};

void watched_thread::watch() {
    thread_ = ::pthread_self();
    watched_here = this;
    stall_watcher::instance().add(*this);
}

void watched_thread::stop_watching() noexcept {
    stall_watcher::instance().remove(*this);
    watched_here = nullptr;
}

void watched_thread::on_signal() noexcept {
    watched_thread& self = *watched_here;
    if (self.answer_.load(std::memory_order_acquire) != answer::asked) return;
    // The turn may have ended since.
    if (self.begun_.load(std::memory_order_relaxed) ==
        self.asked_.load(std::memory_order_relaxed)) {
        self.depth_ = static_cast<std::size_t>(::backtrace(self.stack_.data(), deepest));
        self.look();
    } else {
        self.depth_ = 0;
    }
    self.answer_.store(answer::given, std::memory_order_release);
}

void watched_thread::check(std::int64_t now) noexcept {
    const std::int64_t begun = begun_.load(std::memory_order_relaxed);
    if (begun == 0 || begun == reported_ || now - begun < limit_.count()) return;
    reported_ = begun;
    asked_.store(begun, std::memory_order_relaxed);
    answer_.store(answer::asked, std::memory_order_release);
    ::pthread_kill(thread_, SIGURG);
    for (auto left = answer_limit; left.count() > 0; left -= answer_step) {
        if (answer_.load(std::memory_order_acquire) == answer::given) break;
        std::this_thread::sleep_for(answer_step);
    }
    const bool given = answer_.exchange(answer::none, std::memory_order_acq_rel) == answer::given;
    if (given && depth_ == 0) return;  // it ended just now
    const std::size_t skipped = given ? std::min(own_frames, depth_) : 0;
    const std::size_t depth = given ? depth_ - skipped : 0;
    report(std::chrono::nanoseconds(now - begun), {stack_.data() + skipped, depth});
}

std::string describe_stack(std::span<void* const> stack) {
    std::string text;
    std::array<char, 64> number{};
    for (std::size_t i = 0; i < stack.size(); ++i) {
        Dl_info info{};
        const auto address = reinterpret_cast<std::uintptr_t>(stack[i]);
        std::snprintf(number.data(), number.size(), "    #%zu ", i);
        text += number.data();
        if (::dladdr(stack[i], &info) == 0 || info.dli_fname == nullptr) {
            std::snprintf(number.data(), number.size(), "%#zx\n", address);
            text += number.data();
            continue;
        }
        if (info.dli_sname != nullptr) {
            int failed = 0;
            const std::unique_ptr<char, void (*)(void*)> name{
                abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &failed), std::free};
            text += failed == 0 ? name.get() : info.dli_sname;
            text += ' ';
        }
        std::snprintf(number.data(), number.size(), "+%#zx)\n",
                      address - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
        text += std::string("(") + info.dli_fname + number.data();
    }
    return text;
}

}  // namespace sluice::detail
