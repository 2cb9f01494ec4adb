// SPDX-License-Identifier: Apache-2.0
/// One io_uring and its rings of provided buffers, by bare system calls and without a library: what
/// an echo pays here nobody can leave out. Needs Linux 6.12.
#pragma once

#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdint.h>

struct raw_ring {
    int fd;
    unsigned sq_entries, sq_mask, cq_mask;
    unsigned local_tail, submitted;
    _Atomic unsigned *sq_head, *sq_tail, *cq_head, *cq_tail;
    struct io_uring_sqe* sqes;
    struct io_uring_cqe* cqes;
};

/// Incremental buffers of one group. A buffer is refilled when the kernel has used it up and the
/// last piece of it was sent.
enum { raw_buffer_count = 256, raw_buffer_size = 64 * 1024 };

struct raw_buffers {
    struct io_uring_buf_ring* ring;
    char* memory;
    uint16_t tail, group;
    unsigned with_kernel;  // buffers that it has not used up, as far as completions were read
    struct {
        uint32_t used, pieces;  // `pieces` counts the kernel's hold as one
    } state[raw_buffer_count];
};

void raw_ring_open(struct raw_ring* ring);
void raw_buffers_open(struct raw_buffers* to, struct raw_ring* ring, uint16_t group);
/// Submits what was prepared, and waits until there are `least` completions.
void raw_ring_enter(struct raw_ring* ring, unsigned least);

static inline struct io_uring_sqe* raw_ring_sqe(struct raw_ring* ring) {
    if (__builtin_expect(ring->local_tail - ring->submitted == ring->sq_entries, 0))
        raw_ring_enter(ring, 0);
    struct io_uring_sqe* sqe = &ring->sqes[ring->local_tail++ & ring->sq_mask];
    *sqe = (struct io_uring_sqe){0};
    return sqe;
}

static inline void raw_buffers_give(struct raw_buffers* to, uint16_t id) {
    to->state[id].used = 0;
    to->state[id].pieces = 1;
    struct io_uring_buf* entry = &to->ring->bufs[to->tail & (raw_buffer_count - 1)];
    entry->addr = (uint64_t)(uintptr_t)(to->memory + (uint64_t)id * raw_buffer_size);
    entry->len = raw_buffer_size;
    entry->bid = id;
    ++to->tail;
    ++to->with_kernel;
    atomic_store_explicit((_Atomic uint16_t*)&to->ring->tail, to->tail, memory_order_release);
}

/// Whether the buffer went back to the kernel.
static inline int raw_buffers_drop(struct raw_buffers* of, uint16_t id) {
    if (--of->state[id].pieces != 0) return 0;
    raw_buffers_give(of, id);
    return 1;
}
