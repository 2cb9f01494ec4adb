// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ntuple rules: addresses and ports of TCP and UDP -> an rx queue, an RSS context, or nowhere. Of
 * the rules that match, the one at the lowest location counts.
 */
#include <linux/in.h>

#include "swnic.h"

static bool same(const __be32 *value, const __be32 *wanted, const __be32 *mask, unsigned int words)
{
	for (unsigned int i = 0; i < words; i++)
		if ((value[i] ^ wanted[i]) & mask[i])
			return false;
	return true;
}

static bool same_port(__be16 value, __be16 wanted, __be16 mask)
{
	return !((value ^ wanted) & mask);
}

static bool matches(const struct ethtool_rx_flow_spec *spec, const struct swnic_tuple *tuple)
{
	const struct ethtool_tcpip4_spec *v4 = &spec->h_u.tcp_ip4_spec,
					 *mask4 = &spec->m_u.tcp_ip4_spec;
	const struct ethtool_tcpip6_spec *v6 = &spec->h_u.tcp_ip6_spec,
					 *mask6 = &spec->m_u.tcp_ip6_spec;
	u32 type = spec->flow_type & ~(FLOW_EXT | FLOW_MAC_EXT | FLOW_RSS);
	bool ipv6 = type == TCP_V6_FLOW || type == UDP_V6_FLOW;
	bool tcp = type == TCP_V4_FLOW || type == TCP_V6_FLOW;

	if (tuple->ipv6 != ipv6 || tuple->protocol != (tcp ? IPPROTO_TCP : IPPROTO_UDP))
		return false;
	if (ipv6)
		return same(tuple->source, v6->ip6src, mask6->ip6src, 4) &&
		       same(tuple->destination, v6->ip6dst, mask6->ip6dst, 4) &&
		       same_port(tuple->source_port, v6->psrc, mask6->psrc) &&
		       same_port(tuple->destination_port, v6->pdst, mask6->pdst);
	return same(tuple->source, &v4->ip4src, &mask4->ip4src, 1) &&
	       same(tuple->destination, &v4->ip4dst, &mask4->ip4dst, 1) &&
	       same_port(tuple->source_port, v4->psrc, mask4->psrc) &&
	       same_port(tuple->destination_port, v4->pdst, mask4->pdst);
}

/* Called by senders, under rcu_read_lock_bh(). */
const struct swnic_rule *swnic_rules_find(struct swnic *nic, const struct swnic_tuple *tuple)
{
	if (!READ_ONCE(nic->rule_count))
		return NULL;
	for (unsigned int i = 0; i < SWNIC_MAX_RULES; i++) {
		const struct swnic_rule *rule = rcu_dereference_bh(nic->rules[i]);

		if (rule && matches(&rule->spec, tuple))
			return rule;
	}
	return NULL;
}

static struct swnic_rule *rule_at(struct swnic *nic, u32 location)
{
	return location < SWNIC_MAX_RULES ? rcu_dereference_protected(nic->rules[location], true)
					  : NULL;
}

static void replace(struct swnic *nic, u32 location, struct swnic_rule *rule)
{
	struct swnic_rule *old = rule_at(nic, location);

	rcu_assign_pointer(nic->rules[location], rule);
	WRITE_ONCE(nic->rule_count, nic->rule_count + !!rule - !!old);
	if (old)
		kfree_rcu(old, rcu);
}

static bool supported(const struct ethtool_rx_flow_spec *spec)
{
	switch (spec->flow_type & ~FLOW_RSS) {
	case TCP_V4_FLOW:
	case UDP_V4_FLOW:
		return !spec->m_u.tcp_ip4_spec.tos;
	case TCP_V6_FLOW:
	case UDP_V6_FLOW:
		return !spec->m_u.tcp_ip6_spec.tclass;
	default:
		return false;
	}
}

static int insert(struct swnic *nic, struct ethtool_rxnfc *command)
{
	struct ethtool_rx_flow_spec *spec = &command->fs;
	struct swnic_rule *rule;

	if (!supported(spec))
		return -EOPNOTSUPP;
	if (spec->ring_cookie != RX_CLS_FLOW_DISC &&
	    (ethtool_get_flow_spec_ring_vf(spec->ring_cookie) ||
	     ethtool_get_flow_spec_ring(spec->ring_cookie) >= nic->dev->real_num_rx_queues))
		return -EINVAL;
	/* The last free place, so that a rule with a place of its own can come before. */
	if (spec->location == RX_CLS_LOC_ANY || spec->location == RX_CLS_LOC_LAST) {
		spec->location = SWNIC_MAX_RULES;
		do {
			if (!spec->location--)
				return -ENOSPC;
		} while (rule_at(nic, spec->location));
	}
	if (spec->location >= SWNIC_MAX_RULES)
		return -EINVAL;
	rule = kzalloc(sizeof(*rule), GFP_KERNEL);
	if (!rule)
		return -ENOMEM;
	rule->spec = *spec;
	rule->context = spec->flow_type & FLOW_RSS ? command->rss_context : 0;
	if (rule->context >= SWNIC_MAX_CONTEXTS) {
		kfree(rule);
		return -EINVAL;
	}
	replace(nic, spec->location, rule);
	return 0;
}

int swnic_rules_set(struct net_device *dev, struct ethtool_rxnfc *command)
{
	struct swnic *nic = netdev_priv(dev);

	switch (command->cmd) {
	case ETHTOOL_SRXCLSRLINS:
		return insert(nic, command);
	case ETHTOOL_SRXCLSRLDEL:
		if (!rule_at(nic, command->fs.location))
			return -ENOENT;
		replace(nic, command->fs.location, NULL);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

int swnic_rules_get(struct net_device *dev, struct ethtool_rxnfc *command, u32 *locations)
{
	struct swnic *nic = netdev_priv(dev);
	struct swnic_rule *rule;
	u32 found = 0;

	switch (command->cmd) {
	case ETHTOOL_GRXCLSRLCNT:
		command->rule_cnt = nic->rule_count;
		command->data = SWNIC_MAX_RULES | RX_CLS_LOC_SPECIAL;
		return 0;
	case ETHTOOL_GRXCLSRULE:
		rule = rule_at(nic, command->fs.location);
		if (!rule)
			return -ENOENT;
		command->fs = rule->spec;
		command->rss_context = rule->context;
		return 0;
	case ETHTOOL_GRXCLSRLALL:
		for (u32 i = 0; i < SWNIC_MAX_RULES; i++) {
			if (!rule_at(nic, i))
				continue;
			if (found == command->rule_cnt)
				return -EMSGSIZE;
			locations[found++] = i;
		}
		command->rule_cnt = found;
		command->data = SWNIC_MAX_RULES;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

void swnic_rules_free(struct swnic *nic)
{
	for (u32 i = 0; i < SWNIC_MAX_RULES; i++)
		if (rule_at(nic, i))
			replace(nic, i, NULL);
}
