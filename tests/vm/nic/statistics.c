// SPDX-License-Identifier: GPL-2.0-only
/*
 * What was counted: for ethtool -S, for the qstats of netdev's netlink family, for the interface.
 */
#include "swnic.h"

#define COUNTER(member)                                                                            \
	{                                                                                          \
		#member, offsetof(struct swnic_rx_stats, member)                                   \
	}

static const struct {
	const char *name;
	size_t offset;
} counters[] = {
	COUNTER(packets),     COUNTER(bytes),	  COUNTER(split),      COUNTER(provider_bytes),
	COUNTER(fragments),   COUNTER(buffers),	  COUNTER(alloc_fail), COUNTER(refill_fail),
	COUNTER(fault_drops), COUNTER(oversized), COUNTER(duplicated), COUNTER(swapped),
	COUNTER(unsplit),
};

static u64 read_counter(const struct swnic_queue *queue, size_t offset)
{
	return u64_stats_read((const u64_stats_t *)((const char *)&queue->stats + offset));
}

/* Besides the counters of each queue there is what it has posted, and whose buffers these are. */
#define PER_QUEUE (ARRAY_SIZE(counters) + 2)

int swnic_sset_count(struct net_device *dev, int set)
{
	struct swnic *nic = netdev_priv(dev);

	return set == ETH_SS_STATS ? nic->max_queues * PER_QUEUE : -EOPNOTSUPP;
}

void swnic_strings(struct net_device *dev, u32 set, u8 *data)
{
	struct swnic *nic = netdev_priv(dev);

	if (set != ETH_SS_STATS)
		return;
	for (unsigned int i = 0; i < nic->max_queues; i++) {
		for (unsigned int c = 0; c < ARRAY_SIZE(counters); c++)
			ethtool_sprintf(&data, "rx%u_%s", i, counters[c].name);
		ethtool_sprintf(&data, "rx%u_posted", i);
		ethtool_sprintf(&data, "rx%u_provider_bound", i);
	}
}

void swnic_ethtool_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *data)
{
	struct swnic *nic = netdev_priv(dev);

	for (unsigned int i = 0; i < nic->max_queues; i++) {
		for (unsigned int c = 0; c < ARRAY_SIZE(counters); c++)
			*data++ = read_counter(&nic->queues[i], counters[c].offset);
		*data++ = READ_ONCE(nic->queues[i].ring.count);
		*data++ = READ_ONCE(nic->queues[i].ring.unreadable);
	}
}

static void rx_stats(struct net_device *dev, int index, struct netdev_queue_stats_rx *to)
{
	struct swnic *nic = netdev_priv(dev);
	const struct swnic_rx_stats *from = &nic->queues[index].stats;

	to->packets = u64_stats_read(&from->packets);
	to->bytes = u64_stats_read(&from->bytes);
	to->alloc_fail = u64_stats_read(&from->alloc_fail);
	to->hw_drops = to->alloc_fail + u64_stats_read(&from->fault_drops) +
		       u64_stats_read(&from->oversized);
	to->hw_drop_overruns = to->alloc_fail;
}

static void tx_stats(struct net_device *dev, int index, struct netdev_queue_stats_tx *to)
{
	struct swnic *nic = netdev_priv(dev);

	to->packets = u64_stats_read(&nic->queues[index].tx_packets);
	to->bytes = u64_stats_read(&nic->queues[index].tx_bytes);
}

/* Adds what the queues from first on have counted. */
static void add_queues(struct net_device *dev, unsigned int first,
		       struct netdev_queue_stats_rx *rx, struct netdev_queue_stats_tx *tx)
{
	struct swnic *nic = netdev_priv(dev);

	for (unsigned int i = first; i < nic->max_queues; i++) {
		struct netdev_queue_stats_rx one_rx;
		struct netdev_queue_stats_tx one_tx;

		rx_stats(dev, i, &one_rx);
		tx_stats(dev, i, &one_tx);
		rx->packets += one_rx.packets;
		rx->bytes += one_rx.bytes;
		rx->alloc_fail += one_rx.alloc_fail;
		rx->hw_drops += one_rx.hw_drops;
		rx->hw_drop_overruns += one_rx.hw_drop_overruns;
		tx->packets += one_tx.packets;
		tx->bytes += one_tx.bytes;
	}
}

/* What the queues counted that are not in use now. */
static void base_stats(struct net_device *dev, struct netdev_queue_stats_rx *rx,
		       struct netdev_queue_stats_tx *tx)
{
	rx->packets = rx->bytes = rx->alloc_fail = rx->hw_drops = rx->hw_drop_overruns = 0;
	tx->packets = tx->bytes = 0;
	add_queues(dev, dev->real_num_rx_queues, rx, tx);
}

const struct netdev_stat_ops swnic_stat_ops = {
	.get_queue_stats_rx = rx_stats,
	.get_queue_stats_tx = tx_stats,
	.get_base_stats = base_stats,
};

void swnic_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	struct netdev_queue_stats_rx rx = {};
	struct netdev_queue_stats_tx tx = {};

	add_queues(dev, 0, &rx, &tx);
	stats->rx_packets += rx.packets;
	stats->rx_bytes += rx.bytes;
	stats->rx_missed_errors += rx.hw_drops;
	stats->tx_packets += tx.packets;
	stats->tx_bytes += tx.bytes;
}
