// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <set>

#include <linux/ethtool.h>

#include "runtime/kernel/device_files.hpp"
#include "zcrx/nic/ethtool.hpp"

namespace sluice::detail {

namespace {

//! One of ethtool's structures with an array behind it. Aligned for all of them.
template <class Head>
class with_tail {
public:
    explicit with_tail(std::size_t tail_bytes)
        : words_((sizeof(Head) + tail_bytes + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t)) {}
    Head* operator->() noexcept { return head(); }
    Head* head() noexcept { return reinterpret_cast<Head*>(words_.data()); }
    std::byte* tail() noexcept { return reinterpret_cast<std::byte*>(head() + 1); }

private:
    std::vector<std::uint64_t> words_;
};

nic_result<unsigned> set_rss(const std::string& interface, unsigned context,
                             const std::vector<std::uint32_t>& table, const char* what) {
    with_tail<ethtool_rxfh> command(table.size() * sizeof(std::uint32_t));
    command->cmd = ETHTOOL_SRSSH;
    command->rss_context = context;
    command->indir_size = static_cast<std::uint32_t>(table.size());
    if (!table.empty())
        std::memcpy(command.tail(), table.data(), table.size() * sizeof(std::uint32_t));
    const auto done = ethtool_ioctl(interface, command.head());
    if (!done) return failure_of(what, done.error());
    return command->rss_context;
}

bool is_zero(const void* bytes, std::size_t size) {
    const auto* at = static_cast<const unsigned char*>(bytes);
    return std::all_of(at, at + size, [](unsigned char c) { return c == 0; });
}

__be16& port_in(ethtool_flow_union& flow, bool ipv6, bool of_peer) noexcept {
    if (ipv6) return of_peer ? flow.tcp_ip6_spec.psrc : flow.tcp_ip6_spec.pdst;
    return of_peer ? flow.tcp_ip4_spec.psrc : flow.tcp_ip4_spec.pdst;
}

//! The rule, if it is about nothing but one TCP port and leads to a queue or a context.
std::optional<nic_rule> simple_rule(const ethtool_rxnfc& command) {
    const ethtool_rx_flow_spec& spec = command.fs;
    const bool spread = (spec.flow_type & FLOW_RSS) != 0;
    const std::uint32_t type = spec.flow_type & ~std::uint32_t{FLOW_RSS};
    if (type != TCP_V4_FLOW && type != TCP_V6_FLOW) return std::nullopt;
    if (spec.ring_cookie > 0xffff) return std::nullopt;  // dropped, or for a virtual function
    nic_rule rule{.location = spec.location,
                  .ipv6 = type == TCP_V6_FLOW,
                  .port = 0,
                  .context = std::nullopt,
                  .queue = static_cast<unsigned>(spec.ring_cookie)};
    if (spread) rule.context = command.rss_context;
    ethtool_flow_union mask = spec.m_u;
    rule.of_peer = port_in(mask, rule.ipv6, true) != 0;
    auto& mask_port = port_in(mask, rule.ipv6, rule.of_peer);
    if (mask_port != 0xffff) return std::nullopt;
    mask_port = 0;
    const std::size_t bytes = rule.ipv6 ? sizeof mask.tcp_ip6_spec : sizeof mask.tcp_ip4_spec;
    if (!is_zero(&mask, bytes)) return std::nullopt;
    ethtool_flow_union value = spec.h_u;
    rule.port = ntohs(port_in(value, rule.ipv6, rule.of_peer));
    return rule;
}

struct rule_table {
    std::uint32_t size = 0;
    bool driver_chooses = false;  // the location of a new rule
    std::vector<std::uint32_t> used;
};

result<rule_table> read_locations(const std::string& interface) {
    ethtool_rxnfc count{};
    count.cmd = ETHTOOL_GRXCLSRLCNT;
    if (const auto done = ethtool_ioctl(interface, &count); !done) return done.error();
    rule_table table;
    table.driver_chooses = (count.data & RX_CLS_LOC_SPECIAL) != 0;
    with_tail<ethtool_rxnfc> all(count.rule_cnt * sizeof(std::uint32_t));
    all->cmd = ETHTOOL_GRXCLSRLALL;
    all->rule_cnt = count.rule_cnt;
    if (const auto done = ethtool_ioctl(interface, all.head()); !done) return done.error();
    table.size = static_cast<std::uint32_t>(all->data & ~std::uint64_t{RX_CLS_LOC_SPECIAL});
    table.used.resize(std::min(all->rule_cnt, count.rule_cnt));
    // Not tail(): the array begins where the structure's own padding does.
    if (!table.used.empty())
        std::memcpy(table.used.data(),
                    reinterpret_cast<std::byte*>(all.head()) + offsetof(ethtool_rxnfc, rule_locs),
                    table.used.size() * sizeof(std::uint32_t));
    return table;
}

}  // namespace

void read_driver(nic_state& into) {
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    if (!ethtool_ioctl(into.interface, &info)) return;
    const auto text = [](const char* chars, std::size_t most) {
        return std::string(chars, ::strnlen(chars, most));
    };
    into.driver = text(info.driver, sizeof info.driver);
    into.driver_version = text(info.version, sizeof info.version);
    into.firmware = text(info.fw_version, sizeof info.fw_version);
}

void read_rss(nic_state& into) {
    ethtool_rxfh sizes{};
    sizes.cmd = ETHTOOL_GRSSH;
    if (!ethtool_ioctl(into.interface, &sizes)) return;
    const std::size_t table_bytes = sizes.indir_size * sizeof(std::uint32_t);
    with_tail<ethtool_rxfh> command(table_bytes + sizes.key_size);
    command->cmd = ETHTOOL_GRSSH;
    command->indir_size = sizes.indir_size;
    command->key_size = sizes.key_size;
    if (!ethtool_ioctl(into.interface, command.head())) return;
    into.indirection.resize(sizes.indir_size);
    into.hash_key.resize(sizes.key_size);
    if (table_bytes > 0) std::memcpy(into.indirection.data(), command.tail(), table_bytes);
    if (sizes.key_size > 0)
        std::memcpy(into.hash_key.data(), command.tail() + table_bytes, sizes.key_size);
}

nic_result<> set_indirection(const std::string& interface,
                             const std::vector<std::uint32_t>& table) {
    const auto done = set_rss(interface, 0, table, "setting the RSS table");
    if (!done) return done.error();
    return {};
}

nic_result<unsigned> add_context(const std::string& interface,
                                 const std::vector<std::uint32_t>& table) {
    return set_rss(interface, ETH_RXFH_CONTEXT_ALLOC, table, "adding an RSS context");
}

nic_result<> remove_context(const std::string& interface, unsigned id) {
    const auto done = set_rss(interface, id, {}, "removing an RSS context");
    if (!done) return done.error();
    return {};
}

void read_rules(nic_state& into) {
    const auto table = read_locations(into.interface);
    if (!table) return;
    for (const std::uint32_t location : table->used) {
        ethtool_rxnfc one{};
        one.cmd = ETHTOOL_GRXCLSRULE;
        one.fs.location = location;
        if (!ethtool_ioctl(into.interface, &one)) continue;  // removed meanwhile
        if (const auto rule = simple_rule(one))
            into.rules.push_back(*rule);
        else
            ++into.other_rules;
    }
}

nic_result<> add_rule(const std::string& interface, const nic_rule& rule) {
    const auto table = read_locations(interface);
    if (!table) return failure_of("reading the flow rules", table.error());
    ethtool_rxnfc command{};
    command.cmd = ETHTOOL_SRXCLSRLINS;
    auto& spec = command.fs;
    spec.flow_type = rule.ipv6 ? TCP_V6_FLOW : TCP_V4_FLOW;
    port_in(spec.h_u, rule.ipv6, rule.of_peer) = htons(rule.port);
    port_in(spec.m_u, rule.ipv6, rule.of_peer) = 0xffff;
    spec.ring_cookie = rule.queue;
    if (rule.context) {
        spec.flow_type |= FLOW_RSS;
        command.rss_context = *rule.context;
    }
    spec.location = RX_CLS_LOC_ANY;
    if (!table->driver_chooses) {
        const std::set<std::uint32_t> used(table->used.begin(), table->used.end());
        std::uint32_t free = table->size;
        while (free > 0 && used.count(free - 1) > 0) --free;
        if (free == 0)
            return nic_failure{"adding a flow rule: all " + std::to_string(table->size) +
                               " places are taken"};
        spec.location = free - 1;
    }
    const auto done = ethtool_ioctl(interface, &command);
    if (!done) return failure_of("adding a flow rule", done.error());
    return {};
}

nic_result<> remove_rule(const std::string& interface, unsigned location) {
    ethtool_rxnfc command{};
    command.cmd = ETHTOOL_SRXCLSRLDEL;
    command.fs.location = location;
    const auto done = ethtool_ioctl(interface, &command);
    if (!done) return failure_of("removing a flow rule", done.error());
    return {};
}

}  // namespace sluice::detail
