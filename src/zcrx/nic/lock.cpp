// SPDX-License-Identifier: Apache-2.0
#include "zcrx/nic/lock.hpp"

#include <cerrno>
#include <chrono>
#include <sstream>

#include "runtime/kernel/process.hpp"
#include "zcrx/nic/ethtool.hpp"
#include "zcrx/nic/target.hpp"

namespace sluice::detail {

namespace {

using namespace std::chrono_literals;

constexpr auto step = 50ms;
constexpr auto patience_with_living = 1s;  // it may be ending
constexpr auto patience_with_dead = 8s;    // what it has left waits for its queues and restores

std::string lock_path(const std::string& journal) { return journal + ".lock"; }

struct holder {
    unsigned process = 0;  // 0: it has not signed yet
    std::string queues;
    std::string name;  // empty: it has ended
};

holder read_note(const std::string& journal) {
    holder h;
    std::istringstream(first_line(lock_path(journal)).value_or("")) >> h.process >> h.queues;
    const std::string folder = "/proc/" + std::to_string(h.process);
    const auto state = first_line(folder + "/stat").value_or("");
    const auto after_name = state.rfind(')');
    // Z and X: killed, and its parent has not looked yet.
    if (after_name != std::string::npos && after_name + 2 < state.size() &&
        state[after_name + 2] != 'Z' && state[after_name + 2] != 'X')
        h.name = first_line(folder + "/comm").value_or("?");
    return h;
}

std::string describe(const holder& h) {
    if (h.process == 0) return "another process";
    return "process " + std::to_string(h.process) +
           (h.name.empty() ? ", which has ended" : " (" + h.name + ")");
}

}  // namespace

nic_result<file_lock> lock_nic(const std::string& interface, const std::string& journal) {
    if (auto made = make_folder_of(journal); !made)
        return failure_of("making the folder of " + journal, made.error());
    for (std::chrono::milliseconds waited{0};; waited += step) {
        auto lock = file_lock::take(lock_path(journal));
        if (lock) {
            lock->note("");
            return std::move(*lock);
        }
        if (lock.error().value() != EWOULDBLOCK)
            return failure_of("locking " + lock_path(journal), lock.error());
        const holder h = read_note(journal);
        const bool dead = h.process != 0 && h.name.empty();
        if (waited < (dead ? patience_with_dead : patience_with_living)) {
            pause_thread(step);
            continue;
        }
        return nic_failure{(h.queues.empty() ? "" : "queue " + h.queues + " of ") + interface +
                           " is taken: the interface was set up by " + describe(h) +
                           "; end that, which puts the NIC back, or use another interface"};
    }
}

void sign(const file_lock& lock, const std::vector<unsigned>& queues) {
    lock.note(std::to_string(own_process()) + " " + list_of(queues) + "\n");
}

bool is_another_ones(const std::string& journal) {
    return path_exists(lock_path(journal)) && !file_lock::take(lock_path(journal)) &&
           read_note(journal).process != own_process();
}

std::string nic_owner(const std::string& journal) {
    if (!path_exists(lock_path(journal)) || file_lock::take(lock_path(journal))) return {};
    return describe(read_note(journal));
}

}  // namespace sluice::detail
