// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/stack_overflow.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstring>
#include <mutex>

namespace sluice::detail {

constinit thread_local const guarded_stack* running_stack = nullptr;

namespace {

constexpr std::size_t signal_stack_size = 64 * 1024;  // handlers of others run on it too
constexpr std::array watched{SIGSEGV, SIGBUS};
std::array<struct sigaction, watched.size()> previous;

//! A line put together without anything that a signal handler must not call.
class message {
public:
    message& operator<<(const char* text) noexcept {
        while (*text != '\0' && end_ != text_.size()) text_[end_++] = *text++;
        return *this;
    }
    message& operator<<(std::size_t number) noexcept {
        std::array<char, 24> digits{};
        std::to_chars(digits.data(), digits.data() + digits.size() - 1, number);
        return *this << digits.data();
    }
    void write() const noexcept {
        [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text_.data(), end_);
    }

private:
    std::array<char, 512> text_{};
    std::size_t end_ = 0;
};

//! Does what would have been done without us. Returning repeats the fault under the old handler.
void pass_on(int signal, siginfo_t* info, void* context, const struct sigaction& before) noexcept {
    if ((before.sa_flags & SA_SIGINFO) != 0) {
        before.sa_sigaction(signal, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(signal);
    } else {
        ::sigaction(signal, &before, nullptr);
        if (info->si_code <= 0) ::raise(signal);  // sent, not met: it would not come again
    }
}

void on_fault(int signal, siginfo_t* info, void* context) noexcept {
    const guarded_stack* s = running_stack;
    const auto* at = static_cast<const std::byte*>(info->si_addr);
    if (s != nullptr && info->si_code > 0 && at >= s->guard && at < s->guard + s->guard_size) {
        message text;
        text << "sluice: fatal: stack overflow in the fiber '" << s->name << "', which has "
             << s->size << " bytes: give it more with fiber_options::stack_size\n";
        text.write();
    }
    for (std::size_t i = 0; i < watched.size(); ++i)
        if (watched[i] == signal) pass_on(signal, info, context, previous[i]);
}

void install() noexcept {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    for (std::size_t i = 0; i < watched.size(); ++i) {
        struct sigaction now {};
        ::sigaction(watched[i], nullptr, &now);
        if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fault) continue;
        previous[i] = now;  // known before the handler can run
        struct sigaction ours {};
        ours.sa_sigaction = on_fault;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&ours.sa_mask);
        ::sigaction(watched[i], &ours, nullptr);
    }
}

}  // namespace

overflow_watch::overflow_watch() noexcept {
    install();
    stack_t now{};
    if (::sigaltstack(nullptr, &now) == 0 && (now.ss_flags & SS_DISABLE) == 0) return;
    void* p = ::mmap(nullptr, signal_stack_size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return;
    stack_t ours{};
    ours.ss_sp = p;
    ours.ss_size = signal_stack_size;
    if (::sigaltstack(&ours, nullptr) == 0)
        stack_ = p;
    else
        ::munmap(p, signal_stack_size);
}

overflow_watch::~overflow_watch() {
    if (stack_ == nullptr) return;
    stack_t off{};
    off.ss_flags = SS_DISABLE;
    ::sigaltstack(&off, nullptr);
    ::munmap(stack_, signal_stack_size);
}

}  // namespace sluice::detail
