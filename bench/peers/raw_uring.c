// SPDX-License-Identifier: Apache-2.0
/// Echo, discard and proxy by io_uring alone, as lean as they can be: multishot accept and receive
/// into incremental buffers, sent from where they arrived. A `side` is one socket; what it receives
/// goes to its target: itself (echo), or the other side (proxy). The two sides of a proxy receive
/// into groups of their own, lest requests that wait use up the buffers of the answers they wait
/// for.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"
#include "raw_ring.h"

enum tag { tag_receive, tag_send, tag_connect, tag_accept, tag_mask = 3 };

struct piece {
    struct piece* next;
    char* data;
    uint32_t size;
    uint16_t buffer;
};

struct side {
    struct side* target;
    struct raw_buffers* buffers;  // for what it receives
    struct side* next_starved;
    struct piece *first, *last;  // wait to be sent to it
    uint32_t sending_size;
    uint16_t sending_buffer;
    int fd;
    bool sending, receiving, ended, broken;
};

struct core {
    struct raw_ring ring;
    struct raw_buffers buffers[2];
    struct piece* free_pieces;
    struct side *starved_first, *starved_last;
    int listener;
};

static void* allocate(size_t size) {
    void* memory = calloc(1, size);
    if (memory == NULL) peer_die("calloc", errno);
    return memory;
}

static void arm_accept(struct core* at) {
    struct io_uring_sqe* sqe = raw_ring_sqe(&at->ring);
    sqe->opcode = IORING_OP_ACCEPT;
    sqe->fd = at->listener;
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    sqe->accept_flags = SOCK_CLOEXEC;
    sqe->user_data = tag_accept;
}

static void arm_receive(struct core* at, struct side* s) {
    struct io_uring_sqe* sqe = raw_ring_sqe(&at->ring);
    sqe->opcode = IORING_OP_RECV;
    sqe->fd = s->fd;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = s->buffers->group;
    sqe->user_data = (uint64_t)(uintptr_t)s | tag_receive;
    s->receiving = true;
}

static void send_to(struct core* at, struct side* s, const char* data, uint32_t size,
                    uint16_t buffer) {
    struct io_uring_sqe* sqe = raw_ring_sqe(&at->ring);
    sqe->opcode = IORING_OP_SEND;
    sqe->fd = s->fd;
    sqe->addr = (uint64_t)(uintptr_t)data;
    sqe->len = size;
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    sqe->user_data = (uint64_t)(uintptr_t)s | tag_send;
    s->sending = true;
    s->sending_size = size;
    s->sending_buffer = buffer;
}

static void starve(struct core* at, struct side* s) {
    s->next_starved = NULL;
    s->receiving = true;
    if (at->starved_first == NULL)
        at->starved_first = s;
    else
        at->starved_last->next_starved = s;
    at->starved_last = s;
}

/// All of them: a buffer has room for many, and no other may come back.
__attribute__((noinline, cold)) static void arm_starved(struct core* at) {
    struct side* s = at->starved_first;
    at->starved_first = NULL;
    while (s != NULL) {
        struct side* next = s->next_starved;
        arm_receive(at, s);
        s = next;
    }
}

static void drop(struct core* at, struct raw_buffers* of, uint16_t buffer) {
    if (raw_buffers_drop(of, buffer) && at->starved_first != NULL) arm_starved(at);
}

__attribute__((noinline)) static void wait_to_send(struct core* at, struct side* s, char* data,
                                                   uint32_t size, uint16_t buffer) {
    struct piece* last = s->last;
    if (s->first != NULL && last->buffer == buffer && last->data + last->size == data) {
        last->size += size;
        --s->target->buffers->state[buffer].pieces;
        return;
    }
    struct piece* piece = at->free_pieces;
    if (piece == NULL)
        piece = allocate(sizeof *piece);
    else
        at->free_pieces = piece->next;
    *piece = (struct piece){NULL, data, size, buffer};
    if (s->first == NULL)
        s->first = piece;
    else
        last->next = piece;
    s->last = piece;
}

/// The first piece that waits to be sent, taken out.
static struct piece take_first(struct core* at, struct side* s) {
    struct piece* piece = s->first;
    const struct piece taken = *piece;
    s->first = piece->next;
    piece->next = at->free_pieces;
    at->free_pieces = piece;
    return taken;
}

static void close_if_over(struct side* s) {
    struct side* t = s->target;
    if (s->receiving || s->sending || t->receiving || t->sending || !s->ended || !t->ended) return;
    close(s->fd);
    if (t != s) {
        close(t->fd);
        free(t);
    }
    free(s);
}

__attribute__((noinline, cold)) static void break_pair(struct core* at, struct side* s) {
    struct side* both[] = {s, s->target};
    for (int i = 0; i < 2; ++i) {
        both[i]->broken = both[i]->ended = true;
        shutdown(both[i]->fd, SHUT_RDWR);
        while (both[i]->first != NULL)
            drop(at, both[i]->target->buffers, take_first(at, both[i]).buffer);
    }
}

static void go_on_sending(struct core* at, struct side* s) {
    s->sending = false;
    if (s->first != NULL) {
        const struct piece next = take_first(at, s);
        send_to(at, s, next.data, next.size, next.buffer);
    } else if (__builtin_expect(s->target->ended, 0)) {
        shutdown(s->fd, SHUT_WR);
        close_if_over(s);
    }
}

static void on_sent(struct core* at, struct side* s, int result) {
    drop(at, s->target->buffers, s->sending_buffer);
    if (__builtin_expect((uint32_t)result != s->sending_size, 0)) break_pair(at, s);
    go_on_sending(at, s);
}

static void on_connected(struct core* at, struct side* s, int result) {
    if (result < 0)
        break_pair(at, s);
    else
        arm_receive(at, s);
    go_on_sending(at, s);
}

__attribute__((noinline, cold)) static void on_receive_end(struct core* at, struct side* s,
                                                           int result) {
    if (s->broken || (result <= 0 && result != -ENOBUFS)) {
        s->receiving = false;
        s->ended = true;
        if (result < 0 && !s->broken) break_pair(at, s);
        if (!s->target->sending) go_on_sending(at, s->target);
    } else if (result == -ENOBUFS && s->buffers->with_kernel == 0) {
        starve(at, s);
    } else {
        arm_receive(at, s);
    }
}

static void on_received(struct core* at, struct side* s, const struct io_uring_cqe* cqe) {
    const int result = cqe->res;
    if (__builtin_expect(result > 0, 1)) {
        struct raw_buffers* from = s->buffers;
        const uint16_t buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        char* data = from->memory + (uint64_t)buffer * raw_buffer_size + from->state[buffer].used;
        from->state[buffer].used += (uint32_t)result;
        // The kernel's hold becomes that of this piece when the buffer is used up.
        if (cqe->flags & IORING_CQE_F_BUF_MORE)
            ++from->state[buffer].pieces;
        else
            --from->with_kernel;
        struct side* to = s->target;
        if (__builtin_expect(peer.discard || s->broken, 0))
            drop(at, from, buffer);
        else if (to->sending)
            wait_to_send(at, to, data, (uint32_t)result, buffer);
        else
            send_to(at, to, data, (uint32_t)result, buffer);
        peer_count((size_t)result);
    }
    if (__builtin_expect(!(cqe->flags & IORING_CQE_F_MORE), 0)) on_receive_end(at, s, result);
}

static struct side* new_side(struct core* at, int fd, unsigned group) {
    struct side* s = allocate(sizeof *s);
    s->fd = fd;
    s->buffers = &at->buffers[group];
    return s;
}

static void connect_upstream(struct core* at, struct side* client) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) peer_die("socket", errno);
    const int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct side* s = new_side(at, fd, 1);
    s->target = client;
    client->target = s;
    struct io_uring_sqe* sqe = raw_ring_sqe(&at->ring);
    sqe->opcode = IORING_OP_CONNECT;
    sqe->fd = fd;
    sqe->addr = (uint64_t)(uintptr_t)&peer.upstream;
    sqe->off = sizeof peer.upstream;
    sqe->user_data = (uint64_t)(uintptr_t)s | tag_connect;
    s->sending = true;
}

static void on_accepted(struct core* at, const struct io_uring_cqe* cqe) {
    if (cqe->res >= 0) {
        struct side* s = new_side(at, cqe->res, 0);
        s->target = s;
        if (peer.proxies) connect_upstream(at, s);
        arm_receive(at, s);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) arm_accept(at);
}

static void on_completion(struct core* at, const struct io_uring_cqe* cqe) {
    struct side* s = (struct side*)(uintptr_t)(cqe->user_data & ~(uint64_t)tag_mask);
    switch (cqe->user_data & tag_mask) {
        case tag_receive: on_received(at, s, cqe); break;
        case tag_send: on_sent(at, s, cqe->res); break;
        case tag_connect: on_connected(at, s, cqe->res); break;
        default: on_accepted(at, cqe); break;
    }
}

static void serve(int listener) {
    struct core* at = allocate(sizeof *at);
    at->listener = listener;
    raw_ring_open(&at->ring);
    raw_buffers_open(&at->buffers[0], &at->ring, 0);
    if (peer.proxies) raw_buffers_open(&at->buffers[1], &at->ring, 1);
    arm_accept(at);
    for (;;) {
        raw_ring_enter(&at->ring, 1);
        unsigned head = atomic_load_explicit(at->ring.cq_head, memory_order_relaxed);
        const unsigned tail = atomic_load_explicit(at->ring.cq_tail, memory_order_acquire);
        for (; head != tail; ++head) on_completion(at, &at->ring.cqes[head & at->ring.cq_mask]);
        atomic_store_explicit(at->ring.cq_head, head, memory_order_release);
    }
}

int main(int argc, char** argv) {
    peer_parse(argc, argv, "");
    peer_run(serve);
}
