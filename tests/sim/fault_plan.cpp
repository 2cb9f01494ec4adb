// SPDX-License-Identifier: Apache-2.0
#include "sim/fault_plan.hpp"

#include <cerrno>
#include <utility>

#include "runtime/uring.hpp"

namespace sluice::sim {

namespace {

bool receives(std::uint8_t opcode) noexcept {
    return opcode == IORING_OP_RECV || opcode == IORING_OP_RECV_ZC;
}
bool sends_lent(std::uint8_t opcode) noexcept {
    return opcode == IORING_OP_SEND_ZC || opcode == IORING_OP_SENDMSG_ZC;
}
bool sends(std::uint8_t opcode) noexcept {
    return opcode == IORING_OP_SEND || opcode == IORING_OP_SENDMSG || sends_lent(opcode);
}

// The first fault of `due` that `fits`, taken out of it.
template <class Fits>
fault take_first(std::vector<fault>& due, Fits fits) {
    for (auto at = due.begin(); at != due.end(); ++at) {
        if (!fits(at->kind)) continue;
        const fault found = *at;
        due.erase(at);
        return found;
    }
    return {};
}

template <class Key>
void move_due(std::map<Key, std::vector<fault>>& from, const Key& key, std::vector<fault>& to) {
    const auto found = from.find(key);
    if (found == from.end()) return;
    to.insert(to.end(), found->second.begin(), found->second.end());
    from.erase(found);
}

}  // namespace

bool fault_plan::possible(fault_kind kind, const fault_target& target) noexcept {
    const bool accepts = target.opcode == IORING_OP_ACCEPT;
    const bool moves_bytes = receives(target.opcode) || sends(target.opcode);
    switch (kind) {
        case fault_kind::none: return false;
        case fault_kind::no_buffers: return receives(target.opcode) && target.provided_buffers;
        case fault_kind::no_memory: return receives(target.opcode) || sends_lent(target.opcode);
        case fault_kind::short_transfer:
        case fault_kind::reset: return moves_bytes;
        case fault_kind::no_cq_room: return target.opcode == IORING_OP_RECV_ZC;
        case fault_kind::no_descriptors: return accepts;
        case fault_kind::late: return moves_bytes || accepts || target.opcode == IORING_OP_CONNECT;
        case fault_kind::cancelled: return moves_bytes || accepts;
    }
    return false;
}

void fault_plan::count(std::uint8_t opcode) {
    ++cqes_;
    ++opcode_cqes_[opcode];
    move_due(by_cqe_, cqes_, any_due_);
    move_due(by_opcode_, std::pair{opcode, opcode_cqes_[opcode]}, opcode_due_[opcode]);
}

fault fault_plan::next_for(const fault_target& target, random_source& random) {
    const auto fits = [&](fault_kind kind) { return possible(kind, target); };
    count(target.opcode);
    fault found = take_first(opcode_due_[target.opcode], fits);
    if (found.kind == fault_kind::none) found = take_first(any_due_, fits);
    if (found.kind == fault_kind::none && random.chance(rate_)) found = by_chance(target, random);
    if (found.kind != fault_kind::none) ++happened_[static_cast<std::size_t>(found.kind)];
    return found;
}

fault fault_plan::by_chance(const fault_target& target, random_source& random) const {
    std::array<fault_kind, fault_kinds> candidates{};
    std::size_t count = 0;
    for (std::size_t i = 0; i < fault_kinds; ++i) {
        const auto kind = static_cast<fault_kind>(i);
        if (on_[i] && possible(kind, target)) candidates[count++] = kind;
    }
    if (count == 0) return {};
    const fault_kind kind = candidates[random.below(count)];
    return {kind, kind == fault_kind::late ? random.between(1, longest_delay_) : 0};
}

int fault_plan::next_enter(random_source& random) {
    if (const auto found = by_enter_.find(++enters_); found != by_enter_.end())
        return found->second;
    if (!random.chance(enter_rate_)) return 0;
    constexpr std::array errors{EINTR, ETIME, EAGAIN, EBUSY};
    return errors[random.below(errors.size())];
}

}  // namespace sluice::sim
