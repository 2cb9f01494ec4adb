// SPDX-License-Identifier: GPL-2.0-only
/*
 * What ethtool sets: channels, rings with header/data split, the RSS table, its key and contexts.
 */
#include "swnic.h"

static void get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "swnic");
	strscpy(info->bus_info, dev_name(dev->dev.parent));
}

static int get_link_ksettings(struct net_device *dev, struct ethtool_link_ksettings *settings)
{
	settings->base.speed = SPEED_100000;
	settings->base.duplex = DUPLEX_FULL;
	settings->base.port = PORT_OTHER;
	return 0;
}

static void get_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	struct swnic *nic = netdev_priv(dev);

	channels->max_combined = nic->max_queues;
	channels->combined_count = dev->real_num_rx_queues;
}

/* Stops the queues, changes what needs that, and starts them again. */
static int restart(struct swnic *nic, int (*change)(struct swnic *nic, unsigned int value),
		   unsigned int value)
{
	bool started = nic->started;
	int error;

	swnic_stop_all(nic);
	error = change(nic, value);
	if (started) {
		int other = swnic_start_all(nic);

		error = error ?: other;
	}
	return error;
}

static int change_channels(struct swnic *nic, unsigned int count)
{
	int error = netif_set_real_num_queues(nic->dev, count, count);

	if (!error && !netif_is_rxfh_configured(nic->dev))
		swnic_rss_default(&nic->rss[0], count);
	return error;
}

static int set_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	return restart(netdev_priv(dev), change_channels, channels->combined_count);
}

static void get_ringparam(struct net_device *dev, struct ethtool_ringparam *ring,
			  struct kernel_ethtool_ringparam *kernel_ring,
			  struct netlink_ext_ack *extack)
{
	struct swnic *nic = netdev_priv(dev);

	ring->rx_max_pending = SWNIC_MAX_POSTED;
	ring->rx_pending = nic->posted;
	ring->tx_max_pending = SWNIC_WIRE_LIMIT;
	ring->tx_pending = SWNIC_WIRE_LIMIT;
	kernel_ring->hds_thresh_max = SWNIC_MAX_MTU;
}

static int change_posted(struct swnic *nic, unsigned int posted)
{
	nic->posted = posted;
	return 0;
}

static int set_ringparam(struct net_device *dev, struct ethtool_ringparam *ring,
			 struct kernel_ethtool_ringparam *kernel_ring,
			 struct netlink_ext_ack *extack)
{
	struct swnic *nic = netdev_priv(dev);

	if (!ring->rx_pending || ring->tx_pending != SWNIC_WIRE_LIMIT) {
		NL_SET_ERR_MSG(extack, "rx is at least 1, tx cannot be changed");
		return -EINVAL;
	}
	WRITE_ONCE(nic->split, kernel_ring->tcp_data_split == ETHTOOL_TCP_DATA_SPLIT_ENABLED);
	WRITE_ONCE(nic->split_threshold, kernel_ring->hds_thresh);
	if (ring->rx_pending == nic->posted)
		return 0;
	return restart(nic, change_posted, ring->rx_pending);
}

static u32 get_rx_ring_count(struct net_device *dev)
{
	return dev->real_num_rx_queues;
}

static u32 get_rxfh_key_size(struct net_device *dev)
{
	return SWNIC_KEY_SIZE;
}

static u32 get_rxfh_indir_size(struct net_device *dev)
{
	return SWNIC_INDIR_SIZE;
}

static int get_rxfh_fields(struct net_device *dev, struct ethtool_rxfh_fields *fields)
{
	fields->data = RXH_IP_SRC | RXH_IP_DST;
	switch (fields->flow_type) {
	case TCP_V4_FLOW:
	case UDP_V4_FLOW:
	case TCP_V6_FLOW:
	case UDP_V6_FLOW:
		fields->data |= RXH_L4_B_0_1 | RXH_L4_B_2_3;
	}
	return 0;
}

static int get_rxfh(struct net_device *dev, struct ethtool_rxfh_param *param)
{
	struct swnic *nic = netdev_priv(dev);

	param->hfunc = ETH_RSS_HASH_TOP;
	if (param->key)
		memcpy(param->key, nic->rss[0].key, SWNIC_KEY_SIZE);
	for (unsigned int i = 0; param->indir && i < SWNIC_INDIR_SIZE; i++)
		param->indir[i] = nic->rss[0].indir[i];
	return 0;
}

static int set_rss(struct swnic_rss *rss, const struct ethtool_rxfh_param *param)
{
	if (param->hfunc != ETH_RSS_HASH_NO_CHANGE && param->hfunc != ETH_RSS_HASH_TOP)
		return -EOPNOTSUPP;
	if (param->key)
		memcpy(rss->key, param->key, SWNIC_KEY_SIZE);
	for (unsigned int i = 0; param->indir && i < SWNIC_INDIR_SIZE; i++)
		WRITE_ONCE(rss->indir[i], param->indir[i]);
	return 0;
}

static int set_rxfh(struct net_device *dev, struct ethtool_rxfh_param *param,
		    struct netlink_ext_ack *extack)
{
	struct swnic *nic = netdev_priv(dev);

	return set_rss(&nic->rss[0], param);
}

static int create_context(struct net_device *dev, struct ethtool_rxfh_context *context,
			  const struct ethtool_rxfh_param *param, struct netlink_ext_ack *extack)
{
	struct swnic *nic = netdev_priv(dev);
	struct swnic_rss *rss = &nic->rss[param->rss_context];
	u32 *indir = ethtool_rxfh_context_indir(context);

	memcpy(rss->key, nic->rss[0].key, SWNIC_KEY_SIZE);
	swnic_rss_default(rss, dev->real_num_rx_queues);
	if (set_rss(rss, param))
		return -EOPNOTSUPP;
	context->hfunc = ETH_RSS_HASH_TOP;
	memcpy(ethtool_rxfh_context_key(context), rss->key, SWNIC_KEY_SIZE);
	for (unsigned int i = 0; i < SWNIC_INDIR_SIZE; i++)
		indir[i] = rss->indir[i];
	return 0;
}

static int modify_context(struct net_device *dev, struct ethtool_rxfh_context *context,
			  const struct ethtool_rxfh_param *param, struct netlink_ext_ack *extack)
{
	struct swnic *nic = netdev_priv(dev);

	return set_rss(&nic->rss[param->rss_context], param);
}

static int remove_context(struct net_device *dev, struct ethtool_rxfh_context *context, u32 number,
			  struct netlink_ext_ack *extack)
{
	return 0;
}

const struct ethtool_ops swnic_ethtool_ops = {
	.supported_ring_params = ETHTOOL_RING_USE_TCP_DATA_SPLIT | ETHTOOL_RING_USE_HDS_THRS,
	/* The link of both ends changes with rtnl held. */
	.op_needs_rtnl = ETHTOOL_OP_NEEDS_RTNL_SRINGPARAM | ETHTOOL_OP_NEEDS_RTNL_SCHANNELS,
	.rxfh_per_ctx_key = 1,
	.rxfh_indir_space = SWNIC_INDIR_SIZE,
	.rxfh_key_space = SWNIC_KEY_SIZE,
	.rxfh_max_num_contexts = SWNIC_MAX_CONTEXTS,
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_link_ksettings = get_link_ksettings,
	.get_ts_info = ethtool_op_get_ts_info,
	.get_channels = get_channels,
	.set_channels = set_channels,
	.get_ringparam = get_ringparam,
	.set_ringparam = set_ringparam,
	.get_rxnfc = swnic_rules_get,
	.set_rxnfc = swnic_rules_set,
	.get_rx_ring_count = get_rx_ring_count,
	.get_rxfh_key_size = get_rxfh_key_size,
	.get_rxfh_indir_size = get_rxfh_indir_size,
	.get_rxfh_fields = get_rxfh_fields,
	.get_rxfh = get_rxfh,
	.set_rxfh = set_rxfh,
	.create_rxfh_context = create_context,
	.modify_rxfh_context = modify_context,
	.remove_rxfh_context = remove_context,
	.get_sset_count = swnic_sset_count,
	.get_strings = swnic_strings,
	.get_ethtool_stats = swnic_ethtool_stats,
};
