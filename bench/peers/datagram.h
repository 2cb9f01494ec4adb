// SPDX-License-Identifier: Apache-2.0
/// What the two receivers of datagrams share: how they are ended, and what they say then.
#pragma once

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/// Datagrams that are taken at a time, bytes that a receiver has room for until it takes them, and
/// how often it looks whether it is to end.
enum { datagram_batch = 64, datagram_room = 8 * 1024 * 1024, datagram_patience_ms = 200 };

static volatile sig_atomic_t datagram_ended;
static uint64_t datagram_received, datagram_copied;  // bytes: payload, and what the kernel copied

static inline void datagram_end(int number) {
    (void)number;
    datagram_ended = 1;
}

static inline void datagram_begin(uint16_t port) {
    signal(SIGTERM, datagram_end);
    printf("listening on port %u\n", port);
    fflush(stdout);
}

static inline void datagram_report(void) {
    printf("received %llu bytes, copied %llu\n", (unsigned long long)datagram_received,
           (unsigned long long)datagram_copied);
}
