// SPDX-License-Identifier: Apache-2.0
//! A NIC that is set up for as long as a service lives.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sluice/nic.hpp"
#include "sluice/zcrx_options.hpp"

namespace sluice {

namespace detail {
class nic_keeper;
}

//! What apply_nic() has done is undone at the end: declare it before the service, whose rings have
//! to be closed first; queues are waited for up to 5 seconds. A process of its own, forked by
//! open() and adopt(), keeps CAP_NET_ADMIN and does that, also when this process is killed; this
//! one may drop_privileges(). When both are killed the journal is left, and the next session puts
//! the NIC back first. An interface has one session at a time. Open it before there are threads, as
//! it forks.
//!
//! A stop in the right order: steer_away(), drain, close the rings, which ends the service, and
//! then the destructor. No two calls at once; from any thread; each takes some milliseconds.
class nic_session {
public:
    //! Fails where check_nic() finds what cannot be had, and names it; and when another session has
    //! the interface, with its process. An empty journal: the place that nic_journal_path() gives.
    static nic_result<nic_session> open(const nic_request& request, std::string journal = {});

    //! Goes on where another process left off: `lock` is what its lock() gave, and is owned from
    //! now on. The NIC is as that one set it up, without the rules: see steer().
    static nic_result<nic_session> adopt(const nic_request& request, int lock,
                                         std::string journal = {});

    nic_session(nic_session&& other) noexcept;
    nic_session& operator=(nic_session&&) = delete;
    //! What can't be put back is logged, and stays in the journal.
    ~nic_session();

    [[nodiscard]] const std::vector<unsigned>& queues() const noexcept { return queues_; }

    //! Names the interface, its queues and how many reactors share one, and the NIC's NUMA node for
    //! the areas unless one is named; with
    //! nic_request::peer_ports how it spreads what comes from there. Reactors take queues that
    //! follow each other: others are refused.
    nic_result<> use(zcrx_options& options, unsigned reactors) const;

    //! Rules lead connections to the port into the queues. open() has done it; adopt() has not,
    //! because what comes before the queues are this process's own could never be read.
    nic_result<> steer();

    //! Takes these rules away: what comes from now on, of old connections too, goes to the queues
    //! of all other traffic. Connections of the rx queues go on, and the kernel copies.
    nic_result<> steer_away();

    //! The mark of who has the interface, for the process that takes over; it stays this session's
    //! as well. To be given away after steer_away(), and then leave() is due.
    [[nodiscard]] int lock() const noexcept;

    //! Nothing is undone at the end: another process has adopted the NIC.
    nic_result<> leave();

private:
    nic_session(std::string interface, std::vector<unsigned> queues,
                std::unique_ptr<detail::nic_keeper> keeper);
    nic_result<> learn_replies(const nic_request& request);

    std::string interface_;
    std::vector<unsigned> queues_;
    std::shared_ptr<const rss_table> replies_;
    int numa_node_ = -1;
    std::unique_ptr<detail::nic_keeper> keeper_;  // null: moved from, or another process's
};

//! For "auto": the last queues, one for each reactor, but at most all but one of those there are.
nic_result<std::vector<unsigned>> last_queues(const std::string& interface, unsigned reactors);

}  // namespace sluice
