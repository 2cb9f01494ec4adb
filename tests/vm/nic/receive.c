// SPDX-License-Identifier: GPL-2.0-only
/*
 * What comes off the wire is copied to receive buffers and given to the stack. Payload of TCP goes
 * to the buffers of the queue, headers and all else to memory of the kernel's own: a provider's
 * buffers cannot be read by the kernel, so nothing that it has to look at may be in them.
 */
#include <linux/dma-direct.h>
#include <linux/tcp.h>

#include "swnic.h"

#define OPEN_REFS (SWNIC_MAX_PAGE_SIZE / SMP_CACHE_BYTES + 1)

/* Where the NIC would write: with no IOMMU before it, a DMA address is a physical one. */
static void *buffer_memory(struct swnic_ring *ring, netmem_ref netmem)
{
	return phys_to_virt(dma_to_phys(ring->pool->p.dev, page_pool_get_dma_addr_netmem(netmem)));
}

static bool open_buffer(struct swnic_queue *queue)
{
	struct swnic_ring *ring = &queue->ring;

	if (!ring->count)
		swnic_ring_refill(queue);
	if (!ring->count)
		return false;
	ring->open = ring->posted[--ring->count];
	ring->open_used = 0;
	ring->open_refs = OPEN_REFS;
	page_pool_fragment_netmem(ring->open, OPEN_REFS);
	swnic_count(&queue->stats.buffers, 1);
	return true;
}

/* Appends the payload of a frame, from offset on, to the skb as fragments. */
static bool add_payload(struct swnic_queue *queue, struct sk_buff *skb, struct sk_buff *frame,
			unsigned int offset)
{
	struct swnic_ring *ring = &queue->ring;
	unsigned int left = frame->len - offset;

	while (left) {
		unsigned int number = skb_shinfo(skb)->nr_frags, room, size;

		if (number == MAX_SKB_FRAGS || (!ring->open && !open_buffer(queue)))
			return false;
		room = ring->buffer_size - ring->open_used;
		size = min(left, room);
		if (skb_copy_bits(frame, offset, buffer_memory(ring, ring->open) + ring->open_used,
				  size))
			return false;
		skb_add_rx_frag_netmem(skb, number, ring->open, ring->open_used, size,
				       SKB_DATA_ALIGN(size));
		ring->open_refs--;
		ring->open_used += SKB_DATA_ALIGN(size);
		swnic_count(&queue->stats.fragments, 1);
		if (ring->unreadable)
			swnic_count(&queue->stats.provider_bytes, size);
		offset += size;
		left -= size;
		if (ring->open_used >= ring->buffer_size || (!left && !swnic_fault_pack()))
			swnic_ring_close_open(ring, true);
	}
	return true;
}

static bool to_be_split(struct swnic_queue *queue, struct sk_buff *frame, bool unsplit)
{
	unsigned int headers = swnic_frame(frame)->header_length;

	if (!headers || frame->len == headers || !READ_ONCE(queue->nic->split))
		return false;
	if (unsplit) {
		swnic_count(&queue->stats.unsplit, 1);
		return false;
	}
	return frame->len > READ_ONCE(queue->nic->split_threshold);
}

static struct sk_buff *build(struct swnic_queue *queue, struct sk_buff *frame, bool unsplit)
{
	bool split = to_be_split(queue, frame, unsplit);
	unsigned int linear = split ? swnic_frame(frame)->header_length : frame->len;
	struct sk_buff *skb = napi_alloc_skb(&queue->napi, linear);

	if (!skb)
		return NULL;
	skb_mark_for_recycle(skb);
	if (skb_copy_bits(frame, 0, skb_put(skb, linear), linear) ||
	    (split && !add_payload(queue, skb, frame, linear))) {
		dev_kfree_skb_any(skb);
		return NULL;
	}
	if (split)
		swnic_count(&queue->stats.split, 1);
	return skb;
}

/* Segments that the sender left together arrive as if the NIC had joined them. */
static void carry_over(struct sk_buff *skb, const struct sk_buff *frame)
{
	if (!skb_is_gso(frame))
		return;
	skb_shinfo(skb)->gso_size = skb_shinfo(frame)->gso_size;
	skb_shinfo(skb)->gso_segs = skb_shinfo(frame)->gso_segs;
	skb_shinfo(skb)->gso_type = skb_shinfo(frame)->gso_type & (SKB_GSO_TCPV4 | SKB_GSO_TCPV6);
}

static void receive(struct swnic_queue *queue, struct sk_buff *frame, bool unsplit)
{
	struct net_device *dev = queue->nic->dev;
	struct sk_buff *skb = build(queue, frame, unsplit);

	if (!skb) {
		swnic_count(&queue->stats.alloc_fail, 1);
		return;
	}
	swnic_count(&queue->stats.packets, 1);
	swnic_count(&queue->stats.bytes, skb->len);
	carry_over(skb, frame);
	skb->protocol = eth_type_trans(skb, dev);
	skb_record_rx_queue(skb, queue->index);
	if (dev->features & NETIF_F_RXHASH)
		skb_set_hash(skb, swnic_frame(frame)->hash, swnic_frame(frame)->hash_type);
	/* The wire is memory: a sum that the sender left to its NIC has not been needed. */
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	napi_gro_receive(&queue->napi, skb);
}

static bool fits(const struct swnic *nic, const struct sk_buff *frame)
{
	return skb_is_gso(frame) || frame->len <= nic->dev->mtu + VLAN_ETH_HLEN;
}

static void take(struct swnic_queue *queue, struct sk_buff *frame, bool may_swap)
{
	struct swnic_faults fault = swnic_faults_of_frame(++queue->frames);

	if (fault.drop) {
		swnic_count(&queue->stats.fault_drops, 1);
	} else if (!fits(queue->nic, frame)) {
		swnic_count(&queue->stats.oversized, 1);
	} else {
		if (fault.swap && may_swap) {
			struct sk_buff *next = skb_dequeue(&queue->wire);

			if (next) {
				swnic_count(&queue->stats.swapped, 1);
				take(queue, next, false);
			}
		}
		receive(queue, frame, fault.unsplit);
		if (fault.duplicate) {
			swnic_count(&queue->stats.duplicated, 1);
			receive(queue, frame, fault.unsplit);
		}
	}
	/* The sender's completion. */
	napi_consume_skb(frame, 1);
}

/* The next frame that has arrived by now; if there is only one on its way, the timer is set. */
static struct sk_buff *arrived(struct swnic_queue *queue)
{
	struct sk_buff *frame = skb_peek(&queue->wire);
	ktime_t left;

	if (!frame)
		return NULL;
	left = ktime_sub(swnic_frame(frame)->due, ktime_get());
	if (swnic_frame(frame)->due && left > 0) {
		hrtimer_start(&queue->due, left, HRTIMER_MODE_REL);
		return NULL;
	}
	return skb_dequeue(&queue->wire);
}

int swnic_poll(struct napi_struct *napi, int budget)
{
	struct swnic_queue *queue = container_of(napi, struct swnic_queue, napi);
	struct sk_buff *frame;
	int done = 0;

	while (done < budget && (frame = arrived(queue))) {
		take(queue, frame, true);
		done++;
	}
	/* A budget of 0 is netpoll's, which must not receive. */
	if (!budget)
		return 0;
	swnic_ring_refill(queue);
	if (skb_queue_len_lockless(&queue->wire) <= SWNIC_WIRE_LIMIT / 2)
		swnic_wake_sender(queue->nic);
	if (done < budget)
		napi_complete_done(napi, done);
	return done;
}
