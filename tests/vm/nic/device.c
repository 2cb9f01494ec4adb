// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interface: how it is opened and closed, and what it sends.
 */
#include "swnic.h"

static int start_queue(struct swnic_queue *queue)
{
	struct net_device *dev = queue->nic->dev;
	struct netdev_queue_config qcfg;

	/* It has what a provider asked for that was bound while the interface was down. */
	netdev_queue_config(dev, queue->index, &qcfg);
	return swnic_ring_alloc(queue, &qcfg, &queue->ring);
}

/* Under the device's lock. */
int swnic_start_all(struct swnic *nic)
{
	unsigned int count = nic->dev->real_num_rx_queues, i;

	for (i = 0; i < count; i++) {
		int error = start_queue(&nic->queues[i]);

		if (error) {
			while (i--)
				swnic_ring_free(&nic->queues[i].ring);
			return error;
		}
	}
	for (i = 0; i < count; i++) {
		netif_napi_add_config_locked(nic->dev, &nic->queues[i].napi, swnic_poll, i);
		swnic_queue_run(&nic->queues[i]);
	}
	nic->started = true;
	return 0;
}

/* Under the device's lock. */
void swnic_stop_all(struct swnic *nic)
{
	unsigned int count = nic->dev->real_num_rx_queues, i;

	if (!nic->started)
		return;
	nic->started = false;
	for (i = 0; i < count; i++) {
		swnic_queue_halt(&nic->queues[i]);
		swnic_ring_free(&nic->queues[i].ring);
		netif_napi_del_locked(&nic->queues[i].napi);
	}
}

/* A cable between two interfaces: there is a link while both are open. */
static void update_link(struct swnic *nic)
{
	bool link = nic->up && nic->peer->up;
	struct net_device *ends[] = { nic->dev, nic->peer->dev };

	for (int i = 0; i < 2; i++) {
		if (link)
			netif_carrier_on(ends[i]);
		else
			netif_carrier_off(ends[i]);
	}
}

static int open(struct net_device *dev)
{
	struct swnic *nic = netdev_priv(dev);
	int error = swnic_start_all(nic);

	if (error)
		return error;
	netif_tx_start_all_queues(dev);
	nic->up = true;
	update_link(nic);
	return 0;
}

static int stop(struct net_device *dev)
{
	struct swnic *nic = netdev_priv(dev);

	nic->up = false;
	update_link(nic);
	swnic_stop_all(nic);
	return 0;
}

/* To be called when an rx queue of `nic` has room: the other end may be waiting for that. */
void swnic_wake_sender(struct swnic *nic)
{
	struct net_device *sender = nic->peer->dev;

	for (unsigned int i = 0; i < sender->real_num_tx_queues; i++) {
		struct netdev_queue *queue = netdev_get_tx_queue(sender, i);

		if (netif_tx_queue_stopped(queue))
			netif_tx_wake_queue(queue);
	}
}

static bool has_room(const struct swnic_queue *queue)
{
	return skb_queue_len_lockless(&queue->wire) <= SWNIC_WIRE_LIMIT / 2 ||
	       !READ_ONCE(queue->running);
}

static netdev_tx_t start_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct swnic *nic = netdev_priv(dev), *peer = nic->peer;
	unsigned int index = skb_get_queue_mapping(skb), length = skb->len;
	struct netdev_queue *txq = netdev_get_tx_queue(dev, index);
	int target = swnic_steer(peer, skb);
	ktime_t delay = swnic_fault_delay();
	struct swnic_queue *queue;

	swnic_count(&nic->queues[index].tx_packets, 1);
	swnic_count(&nic->queues[index].tx_bytes, length);
	queue = target < 0 ? NULL : &peer->queues[target];
	if (!queue || !READ_ONCE(queue->running)) {
		dev_core_stats_rx_dropped_inc(peer->dev);
		dev_kfree_skb_any(skb);
		return NETDEV_TX_OK;
	}
	skb_tx_timestamp(skb);
	swnic_frame(skb)->due = delay ? ktime_add(ktime_get(), delay) : 0;
	skb_queue_tail(&queue->wire, skb);
	if (skb_queue_len_lockless(&queue->wire) >= SWNIC_WIRE_LIMIT) {
		netif_tx_stop_queue(txq);
		/* Whoever makes room after this sees the queue stopped. */
		smp_mb__after_atomic();
		if (has_room(queue))
			netif_tx_start_queue(txq);
	}
	swnic_queue_kick(queue);
	return NETDEV_TX_OK;
}

static const struct net_device_ops netdev_ops = {
	.ndo_open = open,
	.ndo_stop = stop,
	.ndo_start_xmit = start_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_get_stats64 = swnic_stats64,
	.ndo_features_check = passthru_features_check,
};

/* An interface that is not yet registered, or NULL. */
struct swnic *swnic_create(struct platform_device *parent, unsigned int queues)
{
	struct net_device *dev = alloc_etherdev_mqs(sizeof(struct swnic), queues, queues);
	struct swnic *nic;

	if (!dev)
		return NULL;
	nic = netdev_priv(dev);
	nic->dev = dev;
	nic->max_queues = queues;
	nic->posted = 256;
	nic->queues = kcalloc(queues, sizeof(*nic->queues), GFP_KERNEL);
	if (!nic->queues) {
		free_netdev(dev);
		return NULL;
	}
	for (unsigned int i = 0; i < queues; i++)
		swnic_queue_init(nic, i);
	swnic_rss_init(nic, queues);

	SET_NETDEV_DEV(dev, &parent->dev);
	eth_hw_addr_random(dev);
	dev->netdev_ops = &netdev_ops;
	dev->ethtool_ops = &swnic_ethtool_ops;
	dev->queue_mgmt_ops = &swnic_queue_mgmt_ops;
	dev->stat_ops = &swnic_stat_ops;
	/* skb->cb is ours from start_xmit on. */
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE;
	dev->max_mtu = SWNIC_MAX_MTU;
	dev->features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA | NETIF_F_RXCSUM |
			NETIF_F_RXHASH | NETIF_F_NTUPLE;
	dev->hw_features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_RXHASH | NETIF_F_NTUPLE |
			   NETIF_F_TSO | NETIF_F_TSO6;
	netif_set_tso_max_size(dev, SWNIC_MAX_TSO);
	return nic;
}
