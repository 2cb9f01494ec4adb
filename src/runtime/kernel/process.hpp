// SPDX-License-Identifier: Apache-2.0
//! The seam's second half: what concerns the process and not one reactor. Not simulated.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/result.hpp"

namespace sluice::detail {

//! The first line of a small file such as those in /proc and /sys; nothing if it can't be read.
std::optional<std::string> first_line(const std::string& path);

//! The CPUs that the calling thread may run on: sched_getaffinity(2).
result<std::vector<unsigned>> allowed_cpus();

//! Moves the calling thread to one CPU: sched_setaffinity(2).
result<void> pin_to_cpu(unsigned cpu);

//! The soft limit of descriptors: getrlimit(2), RLIMIT_NOFILE.
std::uint64_t descriptor_limit();

//! How many descriptors the process has open now.
std::uint64_t open_descriptors();

//! The path of the process's cgroup (version 2) in /sys/fs/cgroup; nothing if there is none.
std::optional<std::string> cgroup_folder();

//! The index of a network interface; 0 if there is none of that name: if_nametoindex(3).
unsigned interface_index(const std::string& name);

//! The process's id: getpid(2).
unsigned own_process() noexcept;

//! The calling thread does nothing for so long.
void pause_thread(std::chrono::milliseconds time);

//! Waits for signals on behalf of a program that asked for it: signalfd(2). While it lives, they
//! are blocked in the calling thread and in the threads that it starts.
class watched_signals {
public:
    static result<watched_signals> block(std::span<const int> signals);
    watched_signals(watched_signals&& other) noexcept;
    watched_signals& operator=(watched_signals&&) = delete;
    ~watched_signals();

    //! The signal's number; 0 after interrupt().
    int wait() noexcept;

    //! From any thread: makes wait() return.
    void interrupt() noexcept;

private:
    watched_signals(int signals, int wake, const sigset_t& before) noexcept
        : signals_(signals), wake_(wake), before_(before) {}
    int signals_;
    int wake_;
    sigset_t before_;  // what the calling thread had blocked
    bool owns_mask_ = true;
};

}  // namespace sluice::detail
