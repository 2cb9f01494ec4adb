// SPDX-License-Identifier: Apache-2.0
//! Making a NIC ready for zero-copy receive, and putting everything back.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sluice/nic_state.hpp"

namespace sluice {

//! What is wanted of a NIC.
struct nic_request {
    std::string interface;
    std::vector<unsigned> queues;       //!< for zero copy; empty: the last one
    std::optional<std::uint16_t> port;  //!< TCP connections to it are steered to the queues
    //! What comes from these ports of peers, which connections were opened to, is steered there
    //! too.
    std::vector<std::uint16_t> peer_ports{};
    std::vector<unsigned> irq_cpus;  //!< a CPU for each queue's interrupt; empty: as they are
    std::optional<unsigned> defer_hard_irqs;               //!< of the queues' NAPIs
    std::optional<std::uint64_t> gro_flush_timeout_ns;     //!< of the queues' NAPIs
    std::uint64_t locked_bytes = std::uint64_t{64} << 20;  //!< that the areas will need
};

enum class nic_verdict {
    have,
    missing,  //!< apply_nic() can mend it
    cannot,   //!< it can't
};

struct nic_requirement {
    std::string name;
    nic_verdict verdict;
    std::string why;
    std::string remedy;  //!< the command, or what to do; empty where there is nothing
};

//! Each requirement of zero-copy receive, judged by the state alone.
std::vector<nic_requirement> check_nic(const nic_state& state, const nic_request& request);

//! One thing of a NIC that can be set, and a value for it.
struct nic_setting {
    enum class kind {
        feature,      //!< name; {0 or 1}
        split,        //!< {header_split as the kernel numbers it, threshold}; no threshold: 1 value
        channels,     //!< {combined}
        indirection,  //!< the whole table; empty: the driver's own
        context,      //!< the table's beginning, repeated over the table
        context_gone,  //!< the same
        rule,          //!< {1: IPv6 + 2: the peer's port, port, queue or queues of the context...}
        rule_gone,     //!< the same
        napi,          //!< {queue, defer_hard_irqs, gro_flush_timeout}
        irq_affinity,  //!< name: CPUs; {queue}
    };
    kind what = kind::feature;
    std::string name;
    std::vector<std::uint64_t> values;

    friend bool operator==(const nic_setting&, const nic_setting&) = default;
};

//! A change and its reverse. Both may be done twice: things are found by what they are, and what
//! is already so is left alone.
struct nic_step {
    nic_setting set;
    std::optional<nic_setting> undo;    //!< nothing: it was so before
    std::string command, undo_command;  //!< the same, for a person to type
};

//! What makes the state meet the request, in the order in which it has to be done.
std::vector<nic_step> plan_nic(const nic_state& state, const nic_request& request);

//! Where the journal of an interface is kept unless another place is named.
std::string nic_journal_path(const std::string& interface);

//! Does the steps. Before each, its reverse is written to the journal and synced, so that
//! restore_nic() can put everything back even after a crash between any two instructions. There
//! must be no journal yet. When a step fails, those before it stay, and stand in the journal.
//! `before` (may be empty) is called before each step, after the journal is written.
nic_result<> apply_nic(const nic_state& state, const std::vector<nic_step>& steps,
                       const std::string& journal,
                       const std::function<void(const nic_step&)>& before = {});

//! Puts back what the journal says, last change first, and removes the journal. Queues that are
//! still bound are waited for up to `patience`: a ring that was closed lets go some 0.3 s later.
//! Gives the commands that correspond to what was done.
nic_result<std::vector<std::string>> restore_nic(
    const std::string& interface, const std::string& journal,
    std::chrono::milliseconds patience = std::chrono::seconds(5));

//! "io_uring", "an AF_XDP socket", ...
const char* name_of(queue_use use) noexcept;
const char* name_of(nic_verdict verdict) noexcept;

}  // namespace sluice
