// SPDX-License-Identifier: Apache-2.0
//! What a request comes to on a NIC: which queues, and the tables that keep them apart.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sluice/nic.hpp"
#include "sluice/rss.hpp"

namespace sluice::detail {

struct nic_target {
    std::vector<unsigned> queues;            // for zero copy, ascending
    unsigned channels = 0;                   // receive queues that there must be
    std::vector<unsigned> others;            // for everything else
    std::vector<std::uint32_t> indirection;  // over the others
    std::vector<std::uint32_t> context;      // over the queues; empty where there is one only

    [[nodiscard]] bool holds(unsigned queue) const;
};

nic_target target_of(const nic_state& state, const nic_request& request);

//! What is known of a driver's zero-copy receive.
enum class driver_kind { works, cannot, unknown };
driver_kind known_driver(const nic_state& state);
//! mlx5: GRO in hardware has to be on before the split.
bool wants_gro_hw(const nic_state& state);

//! Where the NIC's rule for a port leads.
enum class rule_state { absent, right, elsewhere };
struct rule_match {
    std::uint16_t port;
    bool ipv6;
    bool of_peer = false;
    friend bool operator==(const rule_match&, const rule_match&) = default;
};
rule_match match_of(const nic_rule& rule) noexcept;
//! As the first two values of a setting of kind rule, and back.
std::vector<std::uint64_t> numbers_of(const rule_match& match);
rule_match match_of(const nic_setting& setting) noexcept;
//! The rules that a request wants.
std::vector<rule_match> rules_of(const nic_request& request);

rule_state find_rule(const nic_state& state, const nic_target& target, const rule_match& match);

//! How what the rules lead to the queues is spread over them.
rss_table spread_of(const nic_state& state, const nic_target& target);

//! Null: there is no such queue.
const nic_queue* find_queue(const nic_state& state, std::uint64_t id);

//! "4-7" of {4, 5, 6, 7}.
std::string list_of(const std::vector<unsigned>& numbers);

//! As the kernel numbers it: ETHTOOL_TCP_DATA_SPLIT_*.
unsigned number_of(header_split split) noexcept;

}  // namespace sluice::detail
