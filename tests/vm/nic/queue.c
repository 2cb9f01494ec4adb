// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rx queues: their buffers, and how they are started and stopped one by one, which is how a memory
 * provider gets its pages under a queue.
 */
#include "swnic.h"

static unsigned int pool_flags(void)
{
	/* A provider needs both of the DMA flags. */
	return PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM;
}

int swnic_ring_alloc(struct swnic_queue *queue, struct netdev_queue_config *qcfg,
		     struct swnic_ring *ring)
{
	struct net_device *dev = queue->nic->dev;
	struct page_pool_params params = {
		.order = get_order(qcfg->rx_page_size),
		.pool_size = queue->nic->posted,
		.nid = NUMA_NO_NODE,
		.dev = dev->dev.parent,
		.dma_dir = DMA_FROM_DEVICE,
		.max_len = qcfg->rx_page_size,
		.netdev = dev,
		.queue_idx = queue->index,
		.flags = pool_flags(),
	};

	memset(ring, 0, sizeof(*ring));
	ring->limit = swnic_fault_posted(queue->nic->posted);
	ring->buffer_size = qcfg->rx_page_size;
	ring->posted = kvcalloc(ring->limit, sizeof(*ring->posted), GFP_KERNEL);
	if (!ring->posted)
		return -ENOMEM;
	ring->pool = page_pool_create(&params);
	if (IS_ERR(ring->pool)) {
		int error = PTR_ERR(ring->pool);

		kvfree(ring->posted);
		memset(ring, 0, sizeof(*ring));
		return error;
	}
	ring->unreadable = page_pool_is_unreadable(ring->pool);
	return 0;
}

/* The rest of the references to the open buffer goes back; the fragments keep theirs. */
void swnic_ring_close_open(struct swnic_ring *ring, bool in_napi)
{
	if (!ring->open)
		return;
	if (page_pool_unref_netmem(ring->open, ring->open_refs) == 0)
		page_pool_put_unrefed_netmem(ring->pool, ring->open, -1, in_napi);
	ring->open = 0;
}

void swnic_ring_free(struct swnic_ring *ring)
{
	if (!ring->pool)
		return;
	swnic_ring_close_open(ring, false);
	while (ring->count)
		page_pool_put_full_netmem(ring->pool, ring->posted[--ring->count], false);
	page_pool_destroy(ring->pool);
	kvfree(ring->posted);
	memset(ring, 0, sizeof(*ring));
}

/* Posts buffers until the ring is full; by the queue's poll, or while that does not run. */
void swnic_ring_refill(struct swnic_queue *queue)
{
	struct swnic_ring *ring = &queue->ring;

	while (ring->count < ring->limit) {
		netmem_ref netmem = page_pool_dev_alloc_netmems(ring->pool);

		if (!netmem) {
			swnic_count(&queue->stats.refill_fail, 1);
			return;
		}
		ring->posted[ring->count++] = netmem;
	}
}

void swnic_queue_run(struct swnic_queue *queue)
{
	struct net_device *dev = queue->nic->dev;

	local_bh_disable();
	swnic_ring_refill(queue);
	local_bh_enable();
	page_pool_enable_direct_recycling(queue->ring.pool, &queue->napi);
	napi_enable_locked(&queue->napi);
	netif_queue_set_napi(dev, queue->index, NETDEV_QUEUE_TYPE_RX, &queue->napi);
	netif_queue_set_napi(dev, queue->index, NETDEV_QUEUE_TYPE_TX, &queue->napi);
	WRITE_ONCE(queue->running, true);
}

static void interrupt(void *data)
{
	struct swnic_queue *queue = data;

	/* Before the poll, so that a frame that comes meanwhile raises the next one. */
	atomic_set_release(&queue->interrupt_pending, 0);
	napi_schedule(&queue->napi);
}

static void await_interrupt(struct swnic_queue *queue)
{
	while (atomic_read_acquire(&queue->interrupt_pending))
		usleep_range(10, 100);
	/* It was seen to begin; an RCU grace period is long enough for it to end. */
	synchronize_net();
}

/* Afterwards nothing uses the ring: no sender is on its way here, no interrupt, no poll. */
void swnic_queue_halt(struct swnic_queue *queue)
{
	struct net_device *dev = queue->nic->dev;

	WRITE_ONCE(queue->running, false);
	synchronize_net();
	await_interrupt(queue);
	netif_queue_set_napi(dev, queue->index, NETDEV_QUEUE_TYPE_RX, NULL);
	netif_queue_set_napi(dev, queue->index, NETDEV_QUEUE_TYPE_TX, NULL);
	napi_disable_locked(&queue->napi);
	hrtimer_cancel(&queue->due);
	skb_queue_purge(&queue->wire);
	swnic_wake_sender(queue->nic);
	swnic_ring_close_open(&queue->ring, false);
	page_pool_disable_direct_recycling(queue->ring.pool);
}

static enum hrtimer_restart frame_is_due(struct hrtimer *timer)
{
	napi_schedule(&container_of(timer, struct swnic_queue, due)->napi);
	return HRTIMER_NORESTART;
}

/* Each queue has its interrupt on a CPU of its own, as far as there are enough. */
void swnic_queue_kick(struct swnic_queue *queue)
{
	unsigned int cpu = cpumask_nth(queue->index % num_online_cpus(), cpu_online_mask);

	if (cpu >= nr_cpu_ids || cpu == smp_processor_id()) {
		napi_schedule(&queue->napi);
	} else if (!atomic_xchg(&queue->interrupt_pending, 1) &&
		   smp_call_function_single_async(cpu, &queue->interrupt)) {
		/* That CPU has gone. */
		atomic_set(&queue->interrupt_pending, 0);
		napi_schedule(&queue->napi);
	}
}

void swnic_queue_init(struct swnic *nic, unsigned int index)
{
	struct swnic_queue *queue = &nic->queues[index];

	queue->nic = nic;
	queue->index = index;
	skb_queue_head_init(&queue->wire);
	INIT_CSD(&queue->interrupt, interrupt, queue);
	hrtimer_setup(&queue->due, frame_is_due, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
}

static struct swnic_queue *queue_of(struct net_device *dev, int index)
{
	struct swnic *nic = netdev_priv(dev);

	return &nic->queues[index];
}

/* A provider may be refused, never its leaving: the kernel would complain. */
static bool refuses(struct net_device *dev, int index, enum swnic_refusal what)
{
	return swnic_fault_refuses(what) && netif_rxq_has_unreadable_mp(dev, index);
}

static int mem_alloc(struct net_device *dev, struct netdev_queue_config *qcfg, void *memory,
		     int index)
{
	struct swnic *nic = netdev_priv(dev);

	if (netif_running(dev) && !nic->started)
		return -ENETDOWN;
	if (refuses(dev, index, SWNIC_REFUSE_ALLOC))
		return -EIO;
	return swnic_ring_alloc(queue_of(dev, index), qcfg, memory);
}

static void mem_free(struct net_device *dev, void *memory)
{
	swnic_ring_free(memory);
}

static int queue_start(struct net_device *dev, struct netdev_queue_config *qcfg, void *memory,
		       int index)
{
	struct swnic_queue *queue = queue_of(dev, index);
	struct swnic_ring *ring = memory;

	if (ring->unreadable && refuses(dev, index, SWNIC_REFUSE_START))
		return -EIO;
	queue->ring = *ring;
	swnic_queue_run(queue);
	return 0;
}

static int queue_stop(struct net_device *dev, void *memory, int index)
{
	struct swnic_queue *queue = queue_of(dev, index);
	struct swnic_ring *ring = memory;

	swnic_queue_halt(queue);
	*ring = queue->ring;
	memset(&queue->ring, 0, sizeof(queue->ring));
	return 0;
}

static void default_qcfg(struct net_device *dev, struct netdev_queue_config *qcfg)
{
	qcfg->rx_page_size = PAGE_SIZE;
}

static int validate_qcfg(struct net_device *dev, struct netdev_queue_config *qcfg,
			 struct netlink_ext_ack *extack)
{
	if (is_power_of_2(qcfg->rx_page_size) && qcfg->rx_page_size >= PAGE_SIZE &&
	    qcfg->rx_page_size <= SWNIC_MAX_PAGE_SIZE)
		return 0;
	NL_SET_ERR_MSG(extack, "rx page size is a power of two, from 4 to 64 KiB");
	return -ERANGE;
}

const struct netdev_queue_mgmt_ops swnic_queue_mgmt_ops = {
	.ndo_queue_mem_size = sizeof(struct swnic_ring),
	.ndo_queue_mem_alloc = mem_alloc,
	.ndo_queue_mem_free = mem_free,
	.ndo_queue_start = queue_start,
	.ndo_queue_stop = queue_stop,
	.ndo_default_qcfg = default_qcfg,
	.ndo_validate_qcfg = validate_qcfg,
	.supported_params = QCFG_RX_PAGE_SIZE,
};
