// SPDX-License-Identifier: Apache-2.0
#include "zcrx/shared_queues.hpp"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <vector>

#include "runtime/kernel/process.hpp"
#include "sluice/nic.hpp"
#include "zcrx/nic/lock.hpp"
#include "zcrx/nic/netdev.hpp"

namespace sluice::detail {

namespace {

struct shared_queue {
    sharing_group group;
    rx_queue* queue;
    unsigned users;
};

//! Touched when reactors start and end.
struct directory {
    std::mutex mutex;
    std::vector<shared_queue> queues;
};

directory& queues() {
    static directory all;
    return all;
}

}  // namespace

result<joined_queue> join_queue(const sharing_group& group, reactor_io& io,
                                const zcrx_options& options, unsigned queue, std::string& why,
                                bool again) {
    directory& all = queues();
    const std::lock_guard lock(all.mutex);
    const auto there = std::find_if(all.queues.begin(), all.queues.end(), [&](const auto& q) {
        return q.group.service == group.service && q.group.number == group.number;
    });
    if (there != all.queues.end()) {
        const auto user = there->queue->import(io, why);
        if (!user) return user.error();
        ++there->users;
        return joined_queue{there->queue, *user};
    }
    if (again && (is_bound(interface_index(options.interface), queue) ||
                  is_another_ones(nic_journal_path(options.interface))))
        return errno_error(EEXIST);
    const auto opened = rx_queue::open(io, options, queue, why);
    if (!opened) return opened.error();
    rx_queue& made = **opened;
    // The others of a service may have to read what a NIC puts there: see join_others().
    if (!group.alone) {
        const auto exported = made.export_queue();  // if not, the others hear of it
        static_cast<void>(exported);
    }
    all.queues.push_back({group, &made, 1});
    return joined_queue{&made, &made.opener()};
}

void join_others(const sharing_group& group, reactor_io& io, std::vector<joined_queue>& joined) {
    directory& all = queues();
    const std::lock_guard lock(all.mutex);
    for (shared_queue& q : all.queues) {
        if (q.group.service != group.service || q.group.number == group.number) continue;
        if (std::any_of(joined.begin(), joined.end(),
                        [&](const joined_queue& j) { return j.queue == q.queue; }))
            continue;
        std::string why;
        joined.reserve(joined.size() + 1);
        const auto user = q.queue->import(io, why);
        if (!user) continue;
        ++q.users;
        joined.push_back({q.queue, *user});
    }
}

void leave_queue(rx_queue& queue, reactor_io& io) noexcept {
    directory& all = queues();
    const std::lock_guard lock(all.mutex);
    const auto there = std::find_if(all.queues.begin(), all.queues.end(),
                                    [&](const auto& q) { return q.queue == &queue; });
    if (--there->users == 0) all.queues.erase(there);
    queue.leave(io);
}

}  // namespace sluice::detail
