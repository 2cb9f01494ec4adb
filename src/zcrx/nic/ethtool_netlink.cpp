// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstring>

#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>

#include "zcrx/nic/ethtool.hpp"

namespace sluice::detail {

namespace {

//! Whether a feature is set in a bitset that is not compact: what is listed in one without a mask,
//! what is listed with a value in one that has a mask.
bool holds(const nlattr* bitset, const char* name) {
    const attributes set(bitset);
    const nlattr* bits = set.find(ETHTOOL_A_BITSET_BITS);
    if (bits == nullptr) return false;
    const bool masked = set.find(ETHTOOL_A_BITSET_NOMASK) == nullptr;
    bool found = false;
    for_each_attribute(payload_of(*bits), payload_bytes(*bits), [&](const nlattr& one) {
        const attributes bit(&one);
        found = found || (bit.text(ETHTOOL_A_BITSET_BIT_NAME) == name &&
                          (!masked || bit.find(ETHTOOL_A_BITSET_BIT_VALUE) != nullptr));
    });
    return found;
}

std::optional<nic_feature> feature(const attributes& a, const char* name) {
    const bool changeable = holds(a.find(ETHTOOL_A_FEATURES_HW), name) &&
                            !holds(a.find(ETHTOOL_A_FEATURES_NOCHANGE), name);
    const bool on = holds(a.find(ETHTOOL_A_FEATURES_ACTIVE), name);
    if (!changeable && !on) return std::nullopt;
    return nic_feature{on, changeable};
}

header_split split_of(unsigned value) {
    switch (value) {
        case ETHTOOL_TCP_DATA_SPLIT_DISABLED: return header_split::off;
        case ETHTOOL_TCP_DATA_SPLIT_ENABLED: return header_split::on;
        default: return header_split::automatic;
    }
}

}  // namespace

nic_failure failure_of(const std::string& what, const boost::system::error_code& e,
                       const std::string& said) {
    std::string text = what + ": " + std::strerror(e.value()) + said;
    if (e.value() == EPERM || e.value() == EACCES)
        text += "; run as root, or grant CAP_NET_ADMIN";
    else if (e.value() == EOPNOTSUPP)
        text += "; the driver cannot do this";
    else if (e.value() == EBUSY)
        text += "; end the program that uses the queues";
    return {text};
}

result<ethtool_netlink> ethtool_netlink::open(unsigned interface_index) {
    auto family = genl_family::open(ETHTOOL_GENL_NAME);
    if (!family) return family.error();
    return ethtool_netlink(std::move(*family), interface_index);
}

netlink_message ethtool_netlink::make(std::uint8_t command, unsigned header_attribute, int flags) {
    auto message = family_.make(command, flags);
    const std::size_t nest = message.open_nest(header_attribute);
    message.put_number<std::uint32_t>(ETHTOOL_A_HEADER_DEV_INDEX, index_);
    message.close_nest(nest);
    return message;
}

void ethtool_netlink::read_channels(nic_state& into) {
    auto message = make(ETHTOOL_MSG_CHANNELS_GET, ETHTOOL_A_CHANNELS_HEADER);
    static_cast<void>(family_.ask(message, [&](const attributes& a) {
        into.combined = a.small(ETHTOOL_A_CHANNELS_COMBINED_COUNT);
        into.combined_max = a.small(ETHTOOL_A_CHANNELS_COMBINED_MAX);
        into.rx_channels = a.small(ETHTOOL_A_CHANNELS_RX_COUNT);
    }));
}

void ethtool_netlink::read_rings(nic_state& into) {
    auto message = make(ETHTOOL_MSG_RINGS_GET, ETHTOOL_A_RINGS_HEADER);
    static_cast<void>(family_.ask(message, [&](const attributes& a) {
        // The kernel leaves the attribute out where the driver has no such setting, and where it
        // is left to the driver.
        const auto split = a.small(ETHTOOL_A_RINGS_TCP_DATA_SPLIT);
        into.split_threshold = a.small(ETHTOOL_A_RINGS_HDS_THRESH);
        if (split)
            into.split = split_of(*split);
        else if (into.split_threshold)
            into.split = header_split::automatic;
    }));
}

void ethtool_netlink::read_features(nic_state& into) {
    auto message = make(ETHTOOL_MSG_FEATURES_GET, ETHTOOL_A_FEATURES_HEADER);
    static_cast<void>(family_.ask(message, [&](const attributes& a) {
        into.ntuple = feature(a, "rx-ntuple-filter");
        into.gro_hw = feature(a, "rx-gro-hw");
    }));
}

void ethtool_netlink::read_contexts(nic_state& into) {
    auto message = make(ETHTOOL_MSG_RSS_GET, ETHTOOL_A_RSS_HEADER, NLM_F_DUMP);
    static_cast<void>(family_.ask(message, [&](const attributes& a) {
        const auto id = a.small(ETHTOOL_A_RSS_CONTEXT);
        const nlattr* table = a.find(ETHTOOL_A_RSS_INDIR);
        if (!id || *id == 0 || table == nullptr) return;
        nic_context context{.id = *id, .table = {}};
        context.table.resize(payload_bytes(*table) / sizeof(std::uint32_t));
        std::memcpy(context.table.data(), payload_of(*table),
                    context.table.size() * sizeof(std::uint32_t));
        if (const nlattr* key = a.find(ETHTOOL_A_RSS_HKEY)) {
            const auto* bytes = reinterpret_cast<const std::uint8_t*>(payload_of(*key));
            context.hash_key.assign(bytes, bytes + payload_bytes(*key));
        }
        into.contexts.push_back(std::move(context));
    }));
}

nic_result<> ethtool_netlink::set(netlink_message& message, const std::string& what) {
    const auto done = family_.ask(message, [](const attributes&) {});
    if (!done) return failure_of(what, done.error(), family_.said());
    return {};
}

nic_result<> ethtool_netlink::set_channels(unsigned combined) {
    auto message = make(ETHTOOL_MSG_CHANNELS_SET, ETHTOOL_A_CHANNELS_HEADER);
    message.put_number<std::uint32_t>(ETHTOOL_A_CHANNELS_COMBINED_COUNT, combined);
    return set(message, "setting the number of channels");
}

nic_result<> ethtool_netlink::set_split(unsigned split, std::optional<unsigned> threshold) {
    auto message = make(ETHTOOL_MSG_RINGS_SET, ETHTOOL_A_RINGS_HEADER);
    message.put_number<std::uint8_t>(ETHTOOL_A_RINGS_TCP_DATA_SPLIT,
                                     static_cast<std::uint8_t>(split));
    if (threshold) message.put_number<std::uint32_t>(ETHTOOL_A_RINGS_HDS_THRESH, *threshold);
    return set(message, "setting header/data split");
}

nic_result<> ethtool_netlink::set_feature(const std::string& name, bool on) {
    auto message = make(ETHTOOL_MSG_FEATURES_SET, ETHTOOL_A_FEATURES_HEADER);
    const std::size_t wanted = message.open_nest(ETHTOOL_A_FEATURES_WANTED);
    const std::size_t bits = message.open_nest(ETHTOOL_A_BITSET_BITS);
    const std::size_t bit = message.open_nest(ETHTOOL_A_BITSET_BITS_BIT);
    message.put_text(ETHTOOL_A_BITSET_BIT_NAME, name);
    if (on) message.put(ETHTOOL_A_BITSET_BIT_VALUE, nullptr, 0);
    message.close_nest(bit);
    message.close_nest(bits);
    message.close_nest(wanted);
    return set(message, "setting " + name);
}

}  // namespace sluice::detail
