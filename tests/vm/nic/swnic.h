/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * swnic: a NIC made of software, for tests of zero-copy receive.
 *
 * Interfaces come in pairs: what one sends, the other receives. A frame is copied out of the
 * sender's buffers to the receive buffers of the rx queue that steering chooses, as DMA would, and
 * only then is the sender's buffer released. So buffers of a memory provider (io_uring zcrx) are
 * filled as a NIC fills them, and a sender's completions come when the data has left.
 */
#ifndef SWNIC_H
#define SWNIC_H

#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/hrtimer.h>
#include <linux/netdevice.h>
#include <linux/platform_device.h>
#include <linux/smp.h>
#include <linux/u64_stats_sync.h>
#include <net/netdev_lock.h>
#include <net/netdev_queues.h>
#include <net/netdev_rx_queue.h>
#include <net/page_pool/helpers.h>

#define SWNIC_MAX_QUEUES    64
#define SWNIC_MAX_MTU	    9000
#define SWNIC_MAX_POSTED    4096
#define SWNIC_MAX_PAGE_SIZE SZ_64K
/* Payload that fits the fragments of one skb even when its first buffer is begun in the middle. */
#define SWNIC_MAX_TSO (15 * PAGE_SIZE)
/* Frames that wait for one rx queue; from there on the sender's queues are stopped. */
#define SWNIC_WIRE_LIMIT 512

#define SWNIC_KEY_SIZE	   40
#define SWNIC_INDIR_SIZE   128
#define SWNIC_MAX_CONTEXTS 8 /* the device's own table, 0, is one of them */
#define SWNIC_MAX_RULES	   64

/* Receive buffers of one queue: what the queue's memory is for struct netdev_queue_mgmt_ops. */
struct swnic_ring {
	struct page_pool *pool;
	netmem_ref *posted;
	unsigned int limit;
	unsigned int count;
	unsigned int buffer_size;
	bool unreadable; /* the buffers are a memory provider's */

	/* The buffer that is being filled; each fragment has a reference, the others are ours. */
	netmem_ref open;
	unsigned int open_used;
	long open_refs;
};

struct swnic_rx_stats {
	u64_stats_t packets;
	u64_stats_t bytes;
	u64_stats_t split;	    /* frames with their payload in buffers of the queue */
	u64_stats_t provider_bytes; /* written to buffers of a memory provider */
	u64_stats_t fragments;
	u64_stats_t buffers;	 /* taken from those posted */
	u64_stats_t alloc_fail;	 /* frames dropped because no buffer was there */
	u64_stats_t refill_fail; /* times that the posted buffers could not be filled up */
	u64_stats_t fault_drops;
	u64_stats_t oversized;
	u64_stats_t duplicated;
	u64_stats_t swapped;
	u64_stats_t unsplit; /* frames that a fault kept whole */
};

struct swnic_queue {
	struct swnic *nic;
	unsigned int index;
	bool running;
	struct swnic_ring ring;
	struct napi_struct napi;
	struct sk_buff_head wire;
	call_single_data_t interrupt;
	atomic_t interrupt_pending;
	struct hrtimer due;
	/* Only this queue's poll writes them. */
	struct swnic_rx_stats stats;
	u32 frames; /* what the faults count by */

	u64_stats_t tx_packets; /* written under the lock of the tx queue of this index */
	u64_stats_t tx_bytes;
};

struct swnic_rss {
	u8 key[SWNIC_KEY_SIZE];
	u16 indir[SWNIC_INDIR_SIZE];
};

struct swnic_rule {
	struct ethtool_rx_flow_spec spec;
	u32 context;
	struct rcu_head rcu;
};

struct swnic {
	struct net_device *dev;
	struct swnic *peer; /* both live until both are unregistered */
	unsigned int max_queues;
	struct swnic_queue *queues;
	bool up;      /* opened; under rtnl */
	bool started; /* the rx queues run; under the device's lock */
	unsigned int posted;

	/* dev->cfg may be replaced at any time, so the data path has its own. */
	bool split;
	u32 split_threshold;

	struct swnic_rss rss[SWNIC_MAX_CONTEXTS];
	struct swnic_rule __rcu *rules[SWNIC_MAX_RULES];
	unsigned int rule_count;
};

/* What a frame carries on the wire, in skb->cb. */
struct swnic_frame {
	ktime_t due;
	u32 hash;
	u16 header_length; /* up to the payload of TCP; 0: something else */
	u8 hash_type;
};

static inline struct swnic_frame *swnic_frame(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct swnic_frame) > sizeof(skb->cb));
	return (struct swnic_frame *)skb->cb;
}

static inline void swnic_count(u64_stats_t *counter, u64 n)
{
	/* On 64 bit a plain store; there is one writer. */
	u64_stats_add(counter, n);
}

/* device.c */
struct swnic *swnic_create(struct platform_device *parent, unsigned int queues);
int swnic_start_all(struct swnic *nic);
void swnic_stop_all(struct swnic *nic);
void swnic_wake_sender(struct swnic *nic);

/* queue.c */
extern const struct netdev_queue_mgmt_ops swnic_queue_mgmt_ops;
void swnic_queue_init(struct swnic *nic, unsigned int index);
int swnic_ring_alloc(struct swnic_queue *queue, struct netdev_queue_config *qcfg,
		     struct swnic_ring *ring);
void swnic_ring_free(struct swnic_ring *ring);
void swnic_ring_refill(struct swnic_queue *queue);
void swnic_ring_close_open(struct swnic_ring *ring, bool in_napi);
void swnic_queue_run(struct swnic_queue *queue);
void swnic_queue_halt(struct swnic_queue *queue);
void swnic_queue_kick(struct swnic_queue *queue);

/* receive.c */
int swnic_poll(struct napi_struct *napi, int budget);

/* steering.c: the index of the rx queue, or a negative number: drop */
int swnic_steer(struct swnic *nic, struct sk_buff *skb);
void swnic_rss_init(struct swnic *nic, unsigned int queues);
void swnic_rss_default(struct swnic_rss *rss, unsigned int queues);

/* rules.c */
struct swnic_tuple {
	bool ipv6;
	u8 protocol;			  /* 0: no ports */
	__be32 source[4], destination[4]; /* of IPv4 the first */
	__be16 source_port, destination_port;
};
int swnic_rules_get(struct net_device *dev, struct ethtool_rxnfc *command, u32 *locations);
int swnic_rules_set(struct net_device *dev, struct ethtool_rxnfc *command);
const struct swnic_rule *swnic_rules_find(struct swnic *nic, const struct swnic_tuple *tuple);
void swnic_rules_free(struct swnic *nic);

/* ethtool.c, statistics.c */
extern const struct ethtool_ops swnic_ethtool_ops;
extern const struct netdev_stat_ops swnic_stat_ops;
int swnic_sset_count(struct net_device *dev, int set);
void swnic_strings(struct net_device *dev, u32 set, u8 *data);
void swnic_ethtool_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *data);
void swnic_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats);

/* faults.c */
enum swnic_refusal { SWNIC_REFUSE_ALLOC = 1, SWNIC_REFUSE_START = 2 };
struct swnic_faults {
	bool drop, duplicate, swap, unsplit;
};
struct swnic_faults swnic_faults_of_frame(u32 number);
ktime_t swnic_fault_delay(void);
bool swnic_fault_pack(void);
bool swnic_fault_refuses(enum swnic_refusal what);
unsigned int swnic_fault_posted(unsigned int posted);

#endif
