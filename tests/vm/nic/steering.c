// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which rx queue a frame goes to: that of an ntuple rule, else by the Toeplitz hash of its address
 * pair and ports and an indirection table.
 */
#include <linux/if_vlan.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/ip.h>
#include <net/ipv6.h>

#include "swnic.h"

#define LONGEST_INPUT (2 * sizeof(struct in6_addr) + 2 * sizeof(__be16))

/*
 * For each bit of the input that is set, the 32 bits of the key that begin at its place. With the
 * key and the order source address, destination address, source port, destination port, anyone can
 * compute the same.
 */
static u32 toeplitz(const u8 *key, const u8 *input, unsigned int length)
{
	u32 window = get_unaligned_be32(key), hash = 0;

	for (unsigned int i = 0; i < length; i++) {
		for (int bit = 7; bit >= 0; bit--) {
			if (input[i] & BIT(bit))
				hash ^= window;
			window = window << 1 | (key[i + sizeof(u32)] >> bit & 1);
		}
	}
	return hash;
}

static u32 hash_of(const u8 *key, const struct swnic_tuple *tuple)
{
	unsigned int address = tuple->ipv6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
	u8 input[LONGEST_INPUT];
	unsigned int length = 2 * address;

	BUILD_BUG_ON(LONGEST_INPUT + sizeof(u32) > SWNIC_KEY_SIZE);
	memcpy(input, tuple->source, address);
	memcpy(input + address, tuple->destination, address);
	if (tuple->protocol) {
		memcpy(input + length, &tuple->source_port, sizeof(__be16));
		memcpy(input + length + sizeof(__be16), &tuple->destination_port, sizeof(__be16));
		length += 2 * sizeof(__be16);
	}
	return toeplitz(key, input, length);
}

/* The ports of TCP and UDP; for TCP with its payload, the length of all headers. */
static void parse_ports(struct sk_buff *skb, unsigned int offset, u8 protocol,
			struct swnic_tuple *tuple, u16 *headers)
{
	struct tcphdr buffer;
	const struct tcphdr *tcp;
	unsigned int size = protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return;
	/* The ports of UDP are where those of TCP are. */
	tcp = skb_header_pointer(skb, offset, size, &buffer);
	if (!tcp)
		return;
	tuple->protocol = protocol;
	tuple->source_port = tcp->source;
	tuple->destination_port = tcp->dest;
	if (protocol == IPPROTO_TCP && tcp->doff >= sizeof(*tcp) / 4 &&
	    offset + tcp->doff * 4 <= skb->len)
		*headers = offset + tcp->doff * 4;
}

static bool parse_ipv4(struct sk_buff *skb, unsigned int offset, struct swnic_tuple *tuple,
		       u16 *headers)
{
	struct iphdr buffer;
	const struct iphdr *ip = skb_header_pointer(skb, offset, sizeof(buffer), &buffer);

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return false;
	tuple->source[0] = ip->saddr;
	tuple->destination[0] = ip->daddr;
	/* A short frame is padded: what follows the packet is no payload. */
	if (!ip_is_fragment(ip) && offset + ntohs(ip->tot_len) == skb->len)
		parse_ports(skb, offset + ip->ihl * 4, ip->protocol, tuple, headers);
	return true;
}

static bool parse_ipv6(struct sk_buff *skb, unsigned int offset, struct swnic_tuple *tuple,
		       u16 *headers)
{
	struct ipv6hdr buffer;
	const struct ipv6hdr *ip = skb_header_pointer(skb, offset, sizeof(buffer), &buffer);

	if (!ip || ip->version != 6)
		return false;
	tuple->ipv6 = true;
	memcpy(tuple->source, &ip->saddr, sizeof(ip->saddr));
	memcpy(tuple->destination, &ip->daddr, sizeof(ip->daddr));
	if (offset + sizeof(*ip) + ntohs(ip->payload_len) == skb->len)
		parse_ports(skb, offset + sizeof(*ip), ip->nexthdr, tuple, headers);
	return true;
}

static bool parse(struct sk_buff *skb, struct swnic_tuple *tuple, u16 *headers)
{
	const struct ethhdr *ethernet = (const struct ethhdr *)skb->data;
	__be16 protocol = ethernet->h_proto;
	unsigned int offset = ETH_HLEN;

	if (skb_headlen(skb) < ETH_HLEN)
		return false;
	if (protocol == htons(ETH_P_8021Q)) {
		struct vlan_hdr buffer;
		const struct vlan_hdr *vlan =
			skb_header_pointer(skb, offset, sizeof(buffer), &buffer);

		if (!vlan)
			return false;
		protocol = vlan->h_vlan_encapsulated_proto;
		offset += VLAN_HLEN;
	}
	if (protocol == htons(ETH_P_IP))
		return parse_ipv4(skb, offset, tuple, headers);
	if (protocol == htons(ETH_P_IPV6))
		return parse_ipv6(skb, offset, tuple, headers);
	return false;
}

/* Of nic, which receives; fills in what the frame carries. */
int swnic_steer(struct swnic *nic, struct sk_buff *skb)
{
	struct swnic_frame *frame = swnic_frame(skb);
	struct swnic_tuple tuple = {};
	const struct swnic_rule *rule = NULL;
	const struct swnic_rss *rss;

	memset(frame, 0, sizeof(*frame));
	if (!parse(skb, &tuple, &frame->header_length))
		return 0;
	if (nic->dev->features & NETIF_F_NTUPLE)
		rule = swnic_rules_find(nic, &tuple);
	if (rule && rule->spec.ring_cookie == RX_CLS_FLOW_DISC)
		return -1;
	rss = &nic->rss[rule ? rule->context : 0];
	frame->hash = hash_of(rss->key, &tuple);
	frame->hash_type = tuple.protocol ? PKT_HASH_TYPE_L4 : PKT_HASH_TYPE_L3;
	if (rule && !(rule->spec.flow_type & FLOW_RSS))
		return ethtool_get_flow_spec_ring(rule->spec.ring_cookie);
	return READ_ONCE(rss->indir[frame->hash % SWNIC_INDIR_SIZE]);
}

void swnic_rss_default(struct swnic_rss *rss, unsigned int queues)
{
	for (unsigned int i = 0; i < SWNIC_INDIR_SIZE; i++)
		WRITE_ONCE(rss->indir[i], ethtool_rxfh_indir_default(i, queues));
}

void swnic_rss_init(struct swnic *nic, unsigned int queues)
{
	netdev_rss_key_fill(nic->rss[0].key, SWNIC_KEY_SIZE);
	swnic_rss_default(&nic->rss[0], queues);
}
