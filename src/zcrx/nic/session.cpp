// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic_session.hpp"

#include <algorithm>
#include <utility>

#include <spdlog/logger.h>

#include "runtime/kernel/device_files.hpp"
#include "runtime/kernel/process.hpp"
#include "sluice/log.hpp"
#include "zcrx/nic/change.hpp"
#include "zcrx/nic/keeper.hpp"
#include "zcrx/nic/lock.hpp"
#include "zcrx/nic/target.hpp"

namespace sluice {

namespace {

constexpr std::chrono::milliseconds patience{5000};
constexpr std::chrono::milliseconds step{50};

bool any_bound(const nic_state& state) {
    return std::any_of(state.queues.begin(), state.queues.end(),
                       [](const nic_queue& q) { return q.use == queue_use::io_uring; });
}

//! What is wrong with the state that applying can't mend; where the memory is limited shows later,
//! when the areas are known.
nic_result<> refuse_what_cannot_be(const nic_state& state, const nic_request& request) {
    for (const nic_requirement& r : check_nic(state, request)) {
        if (r.verdict != nic_verdict::cannot || r.name == "locked memory") continue;
        return nic_failure{request.interface + ": " + r.name + ": " + r.why +
                           (r.remedy.empty() ? "" : "; " + r.remedy)};
    }
    return {};
}

//! Interrupts that the driver does not tell cannot be moved.
void warn_of_missing_irqs(const nic_state& state, const std::vector<unsigned>& queues) {
    std::vector<unsigned> without;
    for (const unsigned id : queues) {
        const nic_queue* queue = detail::find_queue(state, id);
        if (queue != nullptr && !queue->irq) without.push_back(id);
    }
    if (!without.empty())
        logger()->warn(
            "{}: the driver tells no interrupt of queues {}: they stay on the CPUs where "
            "they are",
            state.interface, detail::list_of(without));
}

}  // namespace

nic_result<nic_session> nic_session::open(const nic_request& request, std::string journal) {
    if (journal.empty()) journal = nic_journal_path(request.interface);
    auto lock = detail::lock_nic(request.interface, journal);
    if (!lock) return lock.error();
    const bool restores = detail::path_exists(journal);
    if (restores) {
        const auto restored = detail::put_back(request.interface, journal, patience);
        if (!restored) return restored.error();
    }
    auto state = inspect_nic(request.interface);
    if (!state) return state.error();
    // The queues of who left the journal may not be free yet, although nothing had to wait for
    // that.
    for (std::chrono::milliseconds waited{0}; restores && waited < patience && any_bound(*state);
         waited += step) {
        detail::pause_thread(step);
        state = inspect_nic(request.interface);
        if (!state) return state.error();
    }
    if (auto possible = refuse_what_cannot_be(*state, request); !possible) return possible.error();
    auto queues = detail::target_of(*state, request).queues;
    detail::sign(*lock, queues);
    if (!request.irq_cpus.empty()) warn_of_missing_irqs(*state, queues);
    bool begun = false;
    const auto done = apply_nic(*state, plan_nic(*state, request), journal,
                                [&](const nic_step&) { begun = true; });
    if (!done) {
        // sluice-nic apply may have been faster: the journal is its own then.
        if (!begun) return done.error();
        const auto restored = detail::put_back(request.interface, journal, patience);
        return nic_failure{done.error().message +
                           (restored ? "" : "; " + restored.error().message)};
    }
    auto keeper = detail::nic_keeper::start(request, journal, std::move(*lock));
    if (!keeper) {
        static_cast<void>(detail::put_back(request.interface, journal, patience));
        return keeper.error();
    }
    nic_session session(request.interface, std::move(queues), std::move(*keeper));
    session.numa_node_ = state->numa_node;
    if (auto known = session.learn_replies(request); !known) return known.error();
    return session;
}

nic_result<nic_session> nic_session::adopt(const nic_request& request, int lock,
                                           std::string journal) {
    detail::file_lock mine(lock);
    if (journal.empty()) journal = nic_journal_path(request.interface);
    if (!detail::path_exists(journal))
        return nic_failure{"there is no journal " + journal +
                           " to go on with: the process before " + "has set up another interface"};
    const auto state = inspect_nic(request.interface);
    if (!state) return state.error();
    auto queues = detail::target_of(*state, request).queues;
    detail::sign(mine, queues);
    auto keeper = detail::nic_keeper::start(request, journal, std::move(mine));
    if (!keeper) return keeper.error();
    nic_session session(request.interface, std::move(queues), std::move(*keeper));
    session.numa_node_ = state->numa_node;
    if (auto known = session.learn_replies(request); !known) return known.error();
    return session;
}

nic_session::nic_session(std::string interface, std::vector<unsigned> queues,
                         std::unique_ptr<detail::nic_keeper> keeper)
    : interface_(std::move(interface)), queues_(std::move(queues)), keeper_(std::move(keeper)) {}

nic_session::nic_session(nic_session&& o) noexcept = default;

nic_result<> nic_session::learn_replies(const nic_request& request) {
    if (request.peer_ports.empty()) return {};
    const auto now = inspect_nic(request.interface);
    if (!now) return now.error();
    replies_ = std::make_shared<const rss_table>(
        detail::spread_of(*now, detail::target_of(*now, request)));
    return {};
}

nic_session::~nic_session() {
    if (keeper_ == nullptr) return;
    const auto restored = keeper_->restore();
    if (!restored) logger()->error("{} is not as it was: {}", interface_, restored.error().message);
}

nic_result<> nic_session::steer() { return keeper_->steer(); }
nic_result<> nic_session::steer_away() { return keeper_->steer_away(); }
int nic_session::lock() const noexcept { return keeper_->lock().descriptor(); }

nic_result<> nic_session::leave() {
    auto left = keeper_->leave();
    if (left) keeper_.reset();
    return left;
}

nic_result<> nic_session::use(zcrx_options& options, unsigned reactors) const {
    if (queues_.back() - queues_.front() + 1 != queues_.size())
        return nic_failure{"rx queues " + detail::list_of(queues_) +
                           " do not follow each other: name some that do"};
    const auto queues = static_cast<unsigned>(queues_.size());
    options.interface = interface_;
    options.first_queue = queues_.front();
    options.replies = replies_;
    if (options.numa_node < 0) options.numa_node = numa_node_;
    options.reactors_per_queue = std::max(1U, (reactors + queues - 1) / queues);
    return {};
}

nic_result<std::vector<unsigned>> last_queues(const std::string& interface, unsigned reactors) {
    const auto state = inspect_nic(interface);
    if (!state) return state.error();
    const unsigned there = state->rx_queues();
    if (there < 2)
        return nic_failure{interface + " has " + std::to_string(there) +
                           " receive queues: one is needed for other traffic (ethtool -L " +
                           interface + " combined N)"};
    const unsigned count = std::clamp(reactors, 1U, there - 1);
    std::vector<unsigned> queues;
    for (unsigned queue = there - count; queue < there; ++queue) queues.push_back(queue);
    return queues;
}

}  // namespace sluice
