// SPDX-License-Identifier: Apache-2.0
/// What the servers that sluice is compared with share: one command line, one listening socket and
/// one thread for each core, and the count that ends them.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { peer_most_cores = 64 };

struct peer_options {
    struct in_addr address;  ///< to listen at; default 127.0.0.1
    uint16_t port;
    int cores[peer_most_cores];
    unsigned core_count;
    bool discard;  ///< receive only, answer nothing
    bool proxies;  ///< connections go to `upstream`
    struct sockaddr_in upstream;
    const char* interface;  ///< to receive from or send by; NULL: not told
    unsigned size;          ///< bytes of a message that it sends
    const char* style;      ///< one of the styles that the peer told peer_parse, or ""
};

extern struct peer_options peer;
/// Received pieces of data, or bytes, that are left until the program ends; meaningful when
/// peer_ends.
extern int64_t peer_left;
extern bool peer_ends;
extern bool peer_counts_bytes;

/// Reads the command line into `peer`, and ends the program when it is wrong. `styles`: what
/// --style may be, parted by spaces, the first is the default; "" if there are none.
void peer_parse(int argc, char** argv, const char* styles);
/// Binds and listens at peer.address with SO_REUSEPORT; accepted sockets inherit TCP_NODELAY.
int peer_listen(void);
/// Runs `serve` with a listening socket on one pinned thread for each core; never returns.
void peer_run(void (*serve)(int listener));
/// Prints `what` with the meaning of `number` (an errno), and ends the program.
__attribute__((noreturn)) void peer_die(const char* what, int number);
/// Ends the program with status 77: this machine can't run this peer.
__attribute__((noreturn)) void peer_skip(const char* why);
__attribute__((noreturn)) void peer_end(void);

/// One piece of data was received.
static inline void peer_count(size_t bytes) {
    if (!peer_ends) return;
    const int64_t more = peer_counts_bytes ? (int64_t)bytes : 1;
    if (__atomic_sub_fetch(&peer_left, more, __ATOMIC_RELAXED) <= 0) peer_end();
}

#ifdef __cplusplus
}
#endif
