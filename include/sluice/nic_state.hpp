// SPDX-License-Identifier: Apache-2.0
//! What a network interface is like now, as far as zero-copy receive is concerned: a plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <boost/system/result.hpp>

namespace sluice {

//! Why something about a NIC could not be done: cause and remedy in one line, for a person.
struct nic_failure {
    std::string message;
};

template <class T = void>
using nic_result = boost::system::result<T, nic_failure>;

//! Whether the NIC puts a packet's payload into buffers of its own (ethtool's tcp-data-split).
enum class header_split {
    unsupported,  //!< the driver does not say
    automatic,    //!< left to the driver: not enough for zero copy
    off,
    on,
};

//! What fills a receive queue's buffers.
enum class queue_use { host_memory, io_uring, dma_buf, af_xdp, leased };

//! Counters of one receive queue since the interface came up; nothing where the driver has none.
struct nic_queue_counters {
    std::optional<std::uint64_t> packets;
    std::optional<std::uint64_t> bytes;
    std::optional<std::uint64_t> alloc_failures;  //!< rx-alloc-fail: no free buffer
    std::optional<std::uint64_t> hardware_drops;  //!< rx-hw-drops
    //! Buffers that the queue's page pool has given out and not got back: in the NIC's ring, in
    //! sockets or with the program.
    std::optional<std::uint64_t> buffers_out;
};

struct nic_queue {
    unsigned id = 0;
    queue_use use = queue_use::host_memory;
    std::optional<unsigned> napi;  //!< the NAPI instance's id
    std::optional<unsigned> irq;
    std::string irq_cpus;  //!< smp_affinity_list of the interrupt, such as "0-3"
    std::optional<unsigned> defer_hard_irqs;
    std::optional<std::uint64_t> gro_flush_timeout_ns;
    nic_queue_counters counters;
};

//! A flow rule for TCP to a local port, or from a port of the peer's, and nothing else. Others are
//! only counted.
struct nic_rule {
    unsigned location = 0;
    bool ipv6 = false;
    std::uint16_t port = 0;
    bool of_peer = false;             //!< the port is the peer's
    std::optional<unsigned> context;  //!< an RSS context spreads the flows, starting at `queue`
    unsigned queue = 0;

    friend bool operator==(const nic_rule&, const nic_rule&) = default;
};

//! A spreading of flows over queues besides the NIC's main one.
struct nic_context {
    unsigned id = 0;
    std::vector<std::uint32_t> table;
    std::vector<std::uint8_t> hash_key{};  //!< empty: not known
};

struct nic_feature {
    bool on = false;
    bool changeable = false;
};

struct nic_state {
    std::string interface;
    unsigned index = 0;
    std::string driver, driver_version, firmware;
    bool has_device = false;  //!< behind it is hardware, not a virtual interface
    bool xdp = false;         //!< an XDP program is attached
    int numa_node = -1;       //!< to which it is attached; -1: not told

    std::optional<unsigned> combined, combined_max;  //!< channels
    std::optional<unsigned> rx_channels;             //!< those that only receive, where it has such

    header_split split = header_split::unsupported;
    std::optional<unsigned> split_threshold;  //!< hds-thresh; nothing: the driver has none

    std::optional<nic_feature> ntuple;  //!< flow rules
    std::optional<nic_feature> gro_hw;

    std::vector<std::uint32_t> indirection;  //!< the main RSS table: the queue of each hash bucket
    std::vector<std::uint8_t> hash_key;
    std::vector<nic_context> contexts;
    std::vector<nic_rule> rules;
    unsigned other_rules = 0;

    std::vector<nic_queue> queues;  //!< of reception, in order; empty: the kernel does not tell

    std::string kernel;                //!< release, such as "7.3.4"
    bool net_admin = false;            //!< the process has CAP_NET_ADMIN
    std::uint64_t lockable_bytes = 0;  //!< UINT64_MAX: no limit

    //! How many receive queues there are now.
    [[nodiscard]] unsigned rx_queues() const noexcept;
};

//! Reads it all: ethtool and netdev netlink, rtnetlink, SIOCETHTOOL, /sys and /proc. What the
//! kernel or the driver does not tell stays empty. Most of it needs no privilege.
nic_result<nic_state> inspect_nic(const std::string& interface);

}  // namespace sluice
