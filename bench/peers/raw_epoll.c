// SPDX-License-Identifier: Apache-2.0
/// Echo by epoll, level-triggered, with as few system calls as there can be: one receive for each
/// readiness, sent from where it arrived. What the socket does not take at once is kept aside, and
/// the connection is not read until it has gone.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

enum { buffer_size = 256 * 1024, most_events = 512 };

struct connection {
    int fd;
    char* rest;
    size_t from, size;
};

struct core {
    int epoll;
    char buffer[buffer_size];
};

static void watch(struct core* at, int operation, struct connection* conn, uint32_t events) {
    struct epoll_event event = {.events = events, .data = {.ptr = conn}};
    if (epoll_ctl(at->epoll, operation, conn->fd, &event) != 0) peer_die("epoll_ctl", errno);
}

static void close_connection(struct connection* conn) {
    close(conn->fd);
    free(conn->rest);
    free(conn);
}

static void keep(struct core* at, struct connection* conn, const char* data, size_t size) {
    conn->rest = malloc(size);
    if (conn->rest == NULL) peer_die("malloc", errno);
    memcpy(conn->rest, data, size);
    conn->from = 0;
    conn->size = size;
    watch(at, EPOLL_CTL_MOD, conn, EPOLLOUT);
}

static void on_readable(struct core* at, struct connection* conn) {
    const ssize_t got = recv(conn->fd, at->buffer, buffer_size, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) close_connection(conn);
        return;
    }
    if (!peer.discard) {
        const ssize_t sent = send(conn->fd, at->buffer, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            close_connection(conn);
            return;
        }
        const size_t gone = sent < 0 ? 0 : (size_t)sent;
        if (gone < (size_t)got) keep(at, conn, at->buffer + gone, (size_t)got - gone);
    }
    peer_count((size_t)got);
}

static void on_writable(struct core* at, struct connection* conn) {
    const ssize_t sent = send(conn->fd, conn->rest + conn->from, conn->size - conn->from,
                              MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) close_connection(conn);
        return;
    }
    conn->from += (size_t)sent;
    if (conn->from < conn->size) return;
    free(conn->rest);
    conn->rest = NULL;
    watch(at, EPOLL_CTL_MOD, conn, EPOLLIN);
}

static void accept_all(struct core* at, int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct connection* conn = calloc(1, sizeof *conn);
        if (conn == NULL) peer_die("calloc", errno);
        conn->fd = fd;
        watch(at, EPOLL_CTL_ADD, conn, EPOLLIN);
    }
}

static void serve(int listener) {
    struct core* at = malloc(sizeof *at);
    if (at == NULL) peer_die("malloc", errno);
    at->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (at->epoll < 0) peer_die("epoll_create1", errno);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    struct epoll_event accepting = {.events = EPOLLIN, .data = {.ptr = NULL}};
    if (epoll_ctl(at->epoll, EPOLL_CTL_ADD, listener, &accepting) != 0)
        peer_die("epoll_ctl", errno);
    for (;;) {
        struct epoll_event events[most_events];
        const int count = epoll_wait(at->epoll, events, most_events, -1);
        for (int i = 0; i < count; ++i) {
            struct connection* conn = events[i].data.ptr;
            if (conn == NULL)
                accept_all(at, listener);
            else if (conn->rest != NULL)
                on_writable(at, conn);
            else
                on_readable(at, conn);
        }
    }
}

int main(int argc, char** argv) {
    peer_parse(argc, argv, "");
    peer_run(serve);
}
