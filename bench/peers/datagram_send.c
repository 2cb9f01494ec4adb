// SPDX-License-Identifier: Apache-2.0
/// Sends UDP datagrams by sendmmsg, as fast as it can.
///   --upstream ADDRESS:PORT --size BYTES [--exit-after-bytes N]
/// Ends on SIGTERM, after N bytes, and in any case after five minutes, and says how many it has
/// sent.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

enum { batch = 64, longest_s = 300 };

static char payload[65507];
static volatile sig_atomic_t ended;

static void end(int number) {
    (void)number;
    ended = 1;
}

int main(int argc, char** argv) {
    peer_parse(argc, argv, "");
    if (!peer.proxies || peer.size == 0) peer_die("--upstream, --size", EINVAL);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) peer_die("socket", errno);
    if (connect(fd, (const struct sockaddr*)&peer.upstream, sizeof peer.upstream) != 0)
        peer_die("connect", errno);
    struct iovec place = {.iov_base = payload, .iov_len = peer.size};
    struct mmsghdr messages[batch] = {0};
    for (int i = 0; i < batch; ++i)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &place, .msg_iovlen = 1};
    signal(SIGTERM, end);
    signal(SIGALRM, end);
    alarm(longest_s);
    unsigned long long bytes = 0;
    while (!ended && (!peer_ends || (int64_t)bytes < peer_left)) {
        const int sent = sendmmsg(fd, messages, batch, 0);
        // Refused: nobody receives (any more).
        if (sent < 0 && errno != ENOBUFS && errno != EINTR && errno != ECONNREFUSED)
            peer_die("sendmmsg", errno);
        if (sent > 0) bytes += (unsigned long long)sent * peer.size;
    }
    printf("sent %llu bytes\n", bytes);
}
