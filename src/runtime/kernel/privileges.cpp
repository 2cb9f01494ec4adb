// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/privileges.hpp"

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sluice {

namespace detail {

// Async-signal-safe.
result<void> keep_capabilities(std::uint32_t mask) noexcept {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    if (::syscall(SYS_capget, &header, data) != 0) return errno_error(errno);
    data[0].permitted &= mask;
    data[0].effective &= mask;
    data[0].inheritable = 0;
    data[1] = {};
    if (::syscall(SYS_capset, &header, data) != 0) return errno_error(errno);
    return {};
}

}  // namespace detail

namespace {

using namespace std::chrono_literals;

result<void> give_up() noexcept {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_error(errno);
    return detail::keep_capabilities(0);
}

void on_signal(int /*number*/) {
    const int before = errno;
    static_cast<void>(give_up());
    errno = before;
}

// What a line of /proc/self/task/N/status says, such as "CapPrm".
std::string status_of(const std::string& task, const std::string& name) {
    std::ifstream file("/proc/self/task/" + task + "/status");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with(name + ":\t")) return line.substr(name.size() + 2);
    return {};
}

// True also of one that has ended.
bool has_given_up(const std::string& task) {
    return status_of(task, "CapPrm").find_first_not_of('0') == std::string::npos &&
           status_of(task, "NoNewPrivs") != "0";
}

// Threads that have not given up. Those of the kernel's own for rings ("iou-wrk-...") take no
// signals.
std::vector<pid_t> privileged_threads() {
    std::vector<pid_t> found;
    DIR* folder = ::opendir("/proc/self/task");
    if (folder == nullptr) return found;
    while (const dirent* entry = ::readdir(folder)) {
        const std::string task = entry->d_name;
        if (task.find_first_not_of("0123456789") != std::string::npos ||
            status_of(task, "Name").starts_with("iou-") || has_given_up(task))
            continue;
        found.push_back(static_cast<pid_t>(std::strtol(task.c_str(), nullptr, 10)));
    }
    ::closedir(folder);
    return found;
}

}  // namespace

result<void> drop_privileges() {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    if (auto mine = give_up(); !mine) return mine;
    const int signal = SIGRTMAX;
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    struct sigaction before {};
    if (::sigaction(signal, &action, &before) != 0) return errno_error(errno);
    // Again and again: a thread may start others before it hears of it.
    constexpr auto step = 5ms;
    auto left = privileged_threads();
    for (auto waited = 0ms; !left.empty() && waited < 1s; waited += step) {
        for (const pid_t thread : left) ::syscall(SYS_tgkill, ::getpid(), thread, signal);
        std::this_thread::sleep_for(step);
        left = privileged_threads();
    }
    if (!left.empty()) return errno_error(EAGAIN);  // the handler stays: they may come to it yet
    ::sigaction(signal, &before, nullptr);
    return {};
}

}  // namespace sluice
