// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "raw_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "peer.h"

enum { sq_entries = 4096, cq_entries = 16384 };

static void* map(int fd, size_t size, off_t at) {
    void* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, at);
    if (memory == MAP_FAILED) peer_die("mmap of the ring", errno);
    return memory;
}

void raw_ring_open(struct raw_ring* ring) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY |
                 IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
        .cq_entries = cq_entries,
    };
    ring->fd = (int)syscall(SYS_io_uring_setup, sq_entries, &params);
    if (ring->fd < 0) peer_skip("io_uring with NO_SQARRAY (Linux 6.6) is not to be had");
    const size_t size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    char* shared = map(ring->fd, size, IORING_OFF_SQ_RING);
    ring->sqes = map(ring->fd, params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    ring->sq_entries = params.sq_entries;
    ring->sq_mask = params.sq_entries - 1;
    ring->cq_mask = params.cq_entries - 1;
    ring->sq_head = (_Atomic unsigned*)(void*)(shared + params.sq_off.head);
    ring->sq_tail = (_Atomic unsigned*)(void*)(shared + params.sq_off.tail);
    ring->cq_head = (_Atomic unsigned*)(void*)(shared + params.cq_off.head);
    ring->cq_tail = (_Atomic unsigned*)(void*)(shared + params.cq_off.tail);
    ring->cqes = (struct io_uring_cqe*)(void*)(shared + params.cq_off.cqes);
    ring->local_tail = ring->submitted = 0;
}

static long enter(int fd, unsigned submit, unsigned least) {
#if defined(__x86_64__)
    // Not by syscall(2), whose shuffling of arguments would be counted.
    long result = SYS_io_uring_enter;
    register long flags __asm__("r10") = IORING_ENTER_GETEVENTS;
    register long mask __asm__("r8") = 0;
    register long size __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"((long)fd), "S"((long)submit), "d"((long)least), "r"(flags), "r"(mask),
                       "r"(size)
                     : "rcx", "r11", "memory");
    return result;
#else
    const long result =
        syscall(SYS_io_uring_enter, fd, submit, least, IORING_ENTER_GETEVENTS, NULL, 0);
    return result < 0 ? -errno : result;
#endif
}

void raw_ring_enter(struct raw_ring* ring, unsigned least) {
    atomic_store_explicit(ring->sq_tail, ring->local_tail, memory_order_release);
    const long done = enter(ring->fd, ring->local_tail - ring->submitted, least);
    if (done >= 0)
        ring->submitted += (unsigned)done;
    else if (done != -EINTR && done != -EBUSY && done != -EAGAIN)
        peer_die("io_uring_enter", (int)-done);
}

void raw_buffers_open(struct raw_buffers* to, struct raw_ring* ring, uint16_t group) {
    const size_t ring_size = raw_buffer_count * sizeof(struct io_uring_buf);
    const size_t size = (size_t)raw_buffer_count * raw_buffer_size;
    to->ring = mmap(NULL, ring_size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    to->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (to->ring == MAP_FAILED || to->memory == MAP_FAILED) peer_die("mmap of buffers", errno);
    to->group = group;
    to->tail = 0;
    to->with_kernel = 0;
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)to->ring,
                                            .ring_entries = raw_buffer_count,
                                            .bgid = group,
                                            .flags = IOU_PBUF_RING_INC};
    if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_PBUF_RING, &registration, 1) != 0)
        peer_skip("incremental provided buffers (Linux 6.12) are not to be had");
    for (uint16_t id = 0; id < raw_buffer_count; ++id) raw_buffers_give(to, id);
}
