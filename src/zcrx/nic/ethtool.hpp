// SPDX-License-Identifier: Apache-2.0
//! Reading and setting what `ethtool` does: by netlink, and by SIOCETHTOOL what netlink lacks on
//! many kernels (flow rules have no netlink operation at all, RSS tables only since 6.17).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sluice/nic_state.hpp"
#include "sluice/result.hpp"
#include "zcrx/nic/genl.hpp"

namespace sluice::detail {

//! The netlink half for one interface.
class ethtool_netlink {
public:
    static result<ethtool_netlink> open(unsigned interface_index);

    //! Each fills in what there is; what the driver does not have is left alone.
    void read_channels(nic_state& into);
    void read_rings(nic_state& into);
    void read_features(nic_state& into);
    void read_contexts(nic_state& into);

    nic_result<> set_channels(unsigned combined);
    //! `split` as in ETHTOOL_TCP_DATA_SPLIT_*.
    nic_result<> set_split(unsigned split, std::optional<unsigned> threshold);
    nic_result<> set_feature(const std::string& name, bool on);

private:
    ethtool_netlink(genl_family family, unsigned index)
        : family_(std::move(family)), index_(index) {}
    netlink_message make(std::uint8_t command, unsigned header_attribute, int flags = 0);
    nic_result<> set(netlink_message& message, const std::string& what);

    genl_family family_;
    unsigned index_;
};

//! The main RSS table and the hash key.
void read_rss(nic_state& into);
//! An empty table: the driver's own.
nic_result<> set_indirection(const std::string& interface, const std::vector<std::uint32_t>& table);
//! Gives the new context's id.
nic_result<unsigned> add_context(const std::string& interface,
                                 const std::vector<std::uint32_t>& table);
nic_result<> remove_context(const std::string& interface, unsigned id);

void read_rules(nic_state& into);
//! Wherever there is room: the rule's own location is not looked at.
nic_result<> add_rule(const std::string& interface, const nic_rule& rule);
nic_result<> remove_rule(const std::string& interface, unsigned location);

//! Driver, version, firmware.
void read_driver(nic_state& into);

//! "<what>: <the errno's text><what the kernel said>", with a remedy where one is known.
nic_failure failure_of(const std::string& what, const boost::system::error_code& e,
                       const std::string& said = {});

}  // namespace sluice::detail
