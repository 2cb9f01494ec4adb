// SPDX-License-Identifier: Apache-2.0
/// Receives streams by TCP_ZEROCOPY_RECEIVE: pages that the kernel can map are mapped, the rest is
/// copied as by recv. Says on SIGTERM how much of each there was.
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { mapping_size = 1024 * 1024, most_events = 64 };

struct connection {
    int fd;
    void* mapping;
};

static char copied_to[mapping_size];
static uint64_t received, copied;

static void report(int signal) {
    (void)signal;
    dprintf(STDOUT_FILENO, "received %llu bytes, copied %llu\n", (unsigned long long)received,
            (unsigned long long)copied);
    _exit(0);
}

static void watch(int epoll, int fd, void* what) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = what}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) peer_die("epoll_ctl", errno);
}

static void accept_one(int epoll, int listener) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct connection* conn = calloc(1, sizeof *conn);
    if (conn == NULL) peer_die("calloc", errno);
    conn->fd = fd;
    conn->mapping = mmap(NULL, mapping_size, PROT_READ, MAP_SHARED, fd, 0);
    if (conn->mapping == MAP_FAILED) peer_skip("the kernel maps no pages of TCP sockets");
    watch(epoll, fd, conn);
}

/// Copies at most `most` bytes; whether the connection goes on.
static bool copy_some(struct connection* conn, size_t most) {
    const ssize_t got =
        recv(conn->fd, copied_to, most < mapping_size ? most : mapping_size, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
    if (got > 0) {
        received += (uint64_t)got;
        copied += (uint64_t)got;
        peer_count((size_t)got);
    }
    return true;
}

static bool receive_some(struct connection* conn) {
    struct tcp_zerocopy_receive how = {.address = (uint64_t)(uintptr_t)conn->mapping,
                                       .length = mapping_size};
    socklen_t size = sizeof how;
    if (getsockopt(conn->fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &how, &size) != 0)
        return errno == EAGAIN || copy_some(conn, mapping_size);
    if (how.length > 0) {
        received += how.length;
        peer_count(how.length);
    }
    if (how.recv_skip_hint > 0) return copy_some(conn, how.recv_skip_hint);
    return how.length > 0 || copy_some(conn, mapping_size);
}

static void serve(int listener) {
    fcntl(listener, F_SETFL, O_NONBLOCK);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) peer_die("epoll_create1", errno);
    watch(epoll, listener, NULL);
    for (;;) {
        struct epoll_event events[most_events];
        const int count = epoll_wait(epoll, events, most_events, -1);
        for (int i = 0; i < count; ++i) {
            struct connection* conn = events[i].data.ptr;
            if (conn == NULL) {
                accept_one(epoll, listener);
            } else if (!receive_some(conn)) {
                munmap(conn->mapping, mapping_size);
                close(conn->fd);
                free(conn);
            }
        }
    }
}

int main(int argc, char** argv) {
    peer_parse(argc, argv, "");
    signal(SIGTERM, report);
    peer_run(serve);
}
