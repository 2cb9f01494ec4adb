// SPDX-License-Identifier: Apache-2.0
/// Receives UDP datagrams by recvmmsg, beside xdp_receive.c.
///   --port N [--exit-after-bytes N]
/// Says on SIGTERM how many bytes came, all of which recvmmsg has copied.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "datagram.h"
#include "peer.h"

enum { largest = 2048 };

static struct mmsghdr messages[datagram_batch];
static struct iovec places[datagram_batch];
static char buffers[datagram_batch][largest];

static int open_socket(void) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) peer_die("socket", errno);
    const int room = datagram_room;
    // Past the limit of the system, if that is allowed.
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(peer.port)};
    if (bind(fd, (const struct sockaddr*)&at, sizeof at) != 0) peer_die("bind", errno);
    return fd;
}

static void receive_some(int fd) {
    const int got = recvmmsg(fd, messages, datagram_batch, MSG_DONTWAIT, NULL);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) peer_die("recvmmsg", errno);
        struct pollfd wanted = {.fd = fd, .events = POLLIN};
        if (poll(&wanted, 1, datagram_patience_ms) < 0 && errno != EINTR) peer_die("poll", errno);
        return;
    }
    for (int i = 0; i < got; ++i) {
        const size_t size = messages[i].msg_len;
        datagram_received += size;
        datagram_copied += size;
        peer_count(size);
    }
}

int main(int argc, char** argv) {
    peer_parse(argc, argv, "");
    const int fd = open_socket();
    for (int i = 0; i < datagram_batch; ++i) {
        places[i] = (struct iovec){.iov_base = buffers[i], .iov_len = largest};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &places[i], .msg_iovlen = 1};
    }
    datagram_begin(peer.port);
    while (!datagram_ended) receive_some(fd);
    datagram_report();
}
