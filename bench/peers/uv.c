// SPDX-License-Identifier: Apache-2.0
/// Echo by libuv, as its users tune it: one loop for each core, one buffer for all reads, and an
/// attempt to write at once before a request is queued.
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "peer.h"

enum { buffer_size = 64 * 1024 };

struct queued {
    uv_write_t request;
    char data[];
};

static void check(const char* what, int result) {
    if (result < 0) peer_die(what, -result);
}

static void on_closed(uv_handle_t* handle) { free(handle); }

static void close_stream(uv_stream_t* stream) {
    if (!uv_is_closing((uv_handle_t*)stream)) uv_close((uv_handle_t*)stream, on_closed);
}

static void lend_buffer(uv_handle_t* handle, size_t suggested, uv_buf_t* to) {
    (void)suggested;
    *to = uv_buf_init(handle->loop->data, buffer_size);
}

static void on_written(uv_write_t* request, int status) {
    if (status < 0) close_stream(request->handle);
    free(request);
}

static void queue(uv_stream_t* stream, const char* data, size_t size) {
    struct queued* rest = malloc(sizeof *rest + size);
    if (rest == NULL) peer_die("malloc", UV_ENOMEM);
    memcpy(rest->data, data, size);
    const uv_buf_t buffer = uv_buf_init(rest->data, (unsigned)size);
    check("uv_write", uv_write(&rest->request, stream, &buffer, 1, on_written));
}

static void on_read(uv_stream_t* stream, ssize_t got, const uv_buf_t* from) {
    if (got < 0) close_stream(stream);
    if (got <= 0) return;
    if (!peer.discard) {
        const uv_buf_t all = uv_buf_init(from->base, (unsigned)got);
        const int sent = uv_try_write(stream, &all, 1);
        const ssize_t gone = sent == UV_EAGAIN ? 0 : sent;
        if (gone < 0) {
            close_stream(stream);
            return;
        }
        if (gone < got) queue(stream, from->base + gone, (size_t)(got - gone));
    }
    peer_count((size_t)got);
}

static void on_connection(uv_stream_t* listener, int status) {
    check("accept", status);
    uv_tcp_t* conn = malloc(sizeof *conn);
    if (conn == NULL) peer_die("malloc", UV_ENOMEM);
    check("uv_tcp_init", uv_tcp_init(listener->loop, conn));
    if (uv_accept(listener, (uv_stream_t*)conn) != 0) {
        close_stream((uv_stream_t*)conn);
        return;
    }
    check("uv_read_start", uv_read_start((uv_stream_t*)conn, lend_buffer, on_read));
}

static void serve(int listener) {
    uv_loop_t* loop = malloc(sizeof *loop);
    uv_tcp_t* socket = malloc(sizeof *socket);
    if (loop == NULL || socket == NULL) peer_die("malloc", UV_ENOMEM);
    check("uv_loop_init", uv_loop_init(loop));
    loop->data = malloc(buffer_size);
    if (loop->data == NULL) peer_die("malloc", UV_ENOMEM);
    check("uv_tcp_init", uv_tcp_init(loop, socket));
    check("uv_tcp_open", uv_tcp_open(socket, listener));
    check("uv_listen", uv_listen((uv_stream_t*)socket, 4096, on_connection));
    uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char** argv) {
    peer_parse(argc, argv, "");
    peer_run(serve);
}
