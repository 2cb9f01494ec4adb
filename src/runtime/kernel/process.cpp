// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <thread>
#include <utility>

namespace sluice::detail {

std::optional<std::string> first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line)) return std::nullopt;
    return line;
}

result<std::vector<unsigned>> allowed_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return errno_error(errno);
    std::vector<unsigned> cpus;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    return cpus;
}

result<void> pin_to_cpu(unsigned cpu) {
    if (cpu >= CPU_SETSIZE) return errno_error(EINVAL);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) return errno_error(errno);
    return {};
}

std::uint64_t descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    return limit.rlim_cur;
}

std::uint64_t open_descriptors() {
    DIR* folder = ::opendir("/proc/self/fd");
    if (folder == nullptr) return 0;
    std::uint64_t entries = 0;
    while (::readdir(folder) != nullptr) ++entries;
    ::closedir(folder);
    return entries - 3;  // ".", ".." and the folder's own descriptor
}

std::optional<std::string> cgroup_folder() {
    std::ifstream file("/proc/self/cgroup");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("0::")) return "/sys/fs/cgroup" + line.substr(3);
    return std::nullopt;
}

unsigned interface_index(const std::string& name) { return ::if_nametoindex(name.c_str()); }

unsigned own_process() noexcept { return static_cast<unsigned>(::getpid()); }

void pause_thread(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }

result<watched_signals> watched_signals::block(std::span<const int> signals) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals) sigaddset(&set, signal);
    sigset_t before;
    if (const int failed = ::pthread_sigmask(SIG_BLOCK, &set, &before); failed != 0)
        return errno_error(failed);
    watched_signals made{::signalfd(-1, &set, SFD_CLOEXEC), ::eventfd(0, EFD_CLOEXEC), before};
    if (made.signals_ < 0 || made.wake_ < 0) return errno_error(errno);
    return made;
}

watched_signals::watched_signals(watched_signals&& other) noexcept
    : signals_(std::exchange(other.signals_, -1)),
      wake_(std::exchange(other.wake_, -1)),
      before_(other.before_),
      owns_mask_(std::exchange(other.owns_mask_, false)) {}

watched_signals::~watched_signals() {
    if (signals_ >= 0) {
        // Those that came while it ended were meant for what has ended.
        const int flags = ::fcntl(signals_, F_GETFL);
        ::fcntl(signals_, F_SETFL, flags | O_NONBLOCK);
        signalfd_siginfo info{};
        while (::read(signals_, &info, sizeof info) == sizeof info) {}
        ::close(signals_);
    }
    if (wake_ >= 0) ::close(wake_);
    if (owns_mask_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

int watched_signals::wait() noexcept {
    std::array<pollfd, 2> waited{{{signals_, POLLIN, 0}, {wake_, POLLIN, 0}}};
    for (;;) {
        if (::poll(waited.data(), waited.size(), -1) < 0) continue;  // EINTR
        if ((waited[1].revents & POLLIN) != 0) return 0;
        signalfd_siginfo info{};
        if (::read(signals_, &info, sizeof info) == sizeof info)
            return static_cast<int>(info.ssi_signo);
    }
}

void watched_signals::interrupt() noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
}

}  // namespace sluice::detail
