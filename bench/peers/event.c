// SPDX-License-Identifier: Apache-2.0
/// Echo by libevent: one base for each core, bufferevents, and what was read moves to the output
/// without a copy.
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>

#include "peer.h"

enum { read_at_once = 64 * 1024 };

static void on_read(struct bufferevent* conn, void* context) {
    (void)context;
    struct evbuffer* input = bufferevent_get_input(conn);
    const size_t got = evbuffer_get_length(input);
    if (peer.discard)
        evbuffer_drain(input, got);
    else
        bufferevent_read_buffer(conn, bufferevent_get_output(conn));
    peer_count(got);
}

static void on_event(struct bufferevent* conn, short what, void* context) {
    (void)context;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) bufferevent_free(conn);
}

static void on_accept(struct evconnlistener* listener, evutil_socket_t fd, struct sockaddr* from,
                      int size, void* context) {
    (void)from;
    (void)size;
    (void)context;
    struct bufferevent* conn =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    if (conn == NULL) peer_die("bufferevent_socket_new", ENOMEM);
    bufferevent_set_max_single_read(conn, read_at_once);
    bufferevent_set_max_single_write(conn, read_at_once);
    bufferevent_setcb(conn, on_read, NULL, on_event, NULL);
    bufferevent_enable(conn, EV_READ | EV_WRITE);
}

static void serve(int fd) {
    struct event_config* config = event_config_new();
    if (config == NULL) peer_die("event_config_new", ENOMEM);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    struct event_base* base = event_base_new_with_config(config);
    event_config_free(config);
    if (base == NULL) peer_die("event_base_new_with_config", ENOMEM);
    evutil_make_socket_nonblocking(fd);
    if (evconnlistener_new(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 0, fd) == NULL)
        peer_die("evconnlistener_new", errno);
    event_base_dispatch(base);
}

int main(int argc, char** argv) {
    peer_parse(argc, argv, "");
    peer_run(serve);
}
