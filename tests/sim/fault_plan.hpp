// SPDX-License-Identifier: Apache-2.0
//! What goes wrong, and when.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "sim/random_source.hpp"

namespace sluice::sim {

enum class fault_kind : unsigned char {
    none,
    no_buffers,      //!< a receive into provided buffers ends with ENOBUFS; no byte is lost
    no_memory,       //!< a receive, or a zero-copy send, ends with ENOMEM; no byte is lost
    short_transfer,  //!< a receive brings, or a send takes, a few bytes only
    late,            //!< the completion comes `delay` later
    cancelled,       //!< the request ends with ECANCELED by itself
    reset,           //!< the network resets the connection
    no_cq_room,      //!< a zero-copy receive ends with ENOSPC; no byte is lost
    no_descriptors,  //!< an accept ends with EMFILE; the connection stays in the queue
};
inline constexpr std::size_t fault_kinds = 9;

struct fault {
    fault_kind kind = fault_kind::none;
    std::int64_t delay = 0;  //!< nanoseconds, for `late`
};

//! What the plan has to know of a request that is about to post a CQE.
struct fault_target {
    std::uint8_t opcode;
    bool provided_buffers;  //!< takes its memory from a buffer ring
};

//! Faults by count and by chance. Counting begins with 1, at the plan's making. A fault that can't
//! happen to the request it falls on waits for the next one that it can happen to.
class fault_plan {
public:
    //! The n-th CQE, of whatever request.
    void fail_at(std::uint64_t n, fault f) { by_cqe_[n].push_back(f); }
    //! The n-th CQE of requests with this opcode.
    void fail_operation(std::uint8_t opcode, std::uint64_t n, fault f) {
        by_opcode_[{opcode, n}].push_back(f);
    }
    //! The n-th io_uring_enter: returns `error` (a positive errno) and does nothing else.
    void fail_enter(std::uint64_t n, int error) { by_enter_[n] = error; }

    //! Each CQE is hit with this probability, by one of the kinds that are on (all are).
    void set_rate(double per_cqe) noexcept { rate_ = per_cqe; }
    //! Each io_uring_enter fails with this probability: EINTR, ETIME, EAGAIN, EBUSY.
    void set_enter_rate(double per_enter) noexcept { enter_rate_ = per_enter; }
    //! Switches a kind off or on for faults by chance.
    void allow(fault_kind kind, bool on) noexcept { on_[static_cast<std::size_t>(kind)] = on; }
    //! The longest delay of a `late` fault by chance.
    void set_longest_delay(std::int64_t nanoseconds) noexcept { longest_delay_ = nanoseconds; }

    //! How many faults of a kind have happened.
    [[nodiscard]] std::uint64_t happened(fault_kind kind) const noexcept {
        return happened_[static_cast<std::size_t>(kind)];
    }

    //! Asked by the simulated kernel once for each CQE and each enter; counts it.
    fault next_for(const fault_target& target, random_source& random);
    //! Counts a CQE that nothing can happen to.
    void count(std::uint8_t opcode);
    int next_enter(random_source& random);

private:
    static bool possible(fault_kind kind, const fault_target& target) noexcept;
    fault by_chance(const fault_target& target, random_source& random) const;

    std::map<std::uint64_t, std::vector<fault>> by_cqe_;
    std::map<std::pair<std::uint8_t, std::uint64_t>, std::vector<fault>> by_opcode_;
    std::map<std::uint64_t, int> by_enter_;
    std::vector<fault> any_due_;                             // waiting for a fit target
    std::map<std::uint8_t, std::vector<fault>> opcode_due_;  // the same, of one opcode
    std::map<std::uint8_t, std::uint64_t> opcode_cqes_;
    std::uint64_t cqes_ = 0;
    std::uint64_t enters_ = 0;
    double rate_ = 0;
    double enter_rate_ = 0;
    std::int64_t longest_delay_ = 5'000'000;
    std::array<bool, fault_kinds> on_{true, true, true, true, true, true, true, true, true};
    std::array<std::uint64_t, fault_kinds> happened_{};
};

}  // namespace sluice::sim
