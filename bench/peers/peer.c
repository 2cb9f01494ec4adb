// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer_options peer;
int64_t peer_left;
bool peer_ends;
bool peer_counts_bytes;

static uint64_t count_wanted;
static void (*serve_function)(int listener);

void peer_die(const char* what, int number) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(number));
    exit(1);
}

void peer_skip(const char* why) {
    fprintf(stderr, "SKIP: %s: %s\n", program_invocation_short_name, why);
    exit(77);
}

void peer_end(void) {
    printf("%llu %s\n", (unsigned long long)count_wanted, peer_counts_bytes ? "bytes" : "messages");
    fflush(stdout);
    // Connections are still open and other threads still run: nothing is torn down.
    _exit(0);
}

static __attribute__((noreturn)) void refuse(const char* option, const char* text) {
    fprintf(stderr, "%s: %s %s is not understood\n", program_invocation_short_name, option, text);
    exit(2);
}

static uint64_t number_of(const char* option, const char* text, uint64_t most) {
    char* end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value > most) refuse(option, text);
    return value;
}

static void read_cores(const char* text) {
    char copy[256];
    snprintf(copy, sizeof copy, "%s", text);
    peer.core_count = 0;
    char* rest = copy;
    for (char* part; (part = strsep(&rest, ",")) != NULL;) {
        char* second = part;
        const char* first = strsep(&second, "-");
        const int from = (int)number_of("--cores", first, 4096);
        const int to = second == NULL ? from : (int)number_of("--cores", second, 4096);
        for (int core = from; core <= to && peer.core_count < peer_most_cores; ++core)
            peer.cores[peer.core_count++] = core;
    }
}

static void read_upstream(const char* text) {
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    char* colon = strrchr(copy, ':');
    if (colon == NULL) refuse("--upstream", text);
    *colon = '\0';
    peer.upstream.sin_family = AF_INET;
    peer.upstream.sin_port = htons((uint16_t)number_of("--upstream", colon + 1, 65535));
    if (inet_pton(AF_INET, copy, &peer.upstream.sin_addr) != 1) refuse("--upstream", text);
    peer.proxies = true;
}

static void read_style(const char* text, const char* styles) {
    char copy[128];
    snprintf(copy, sizeof copy, "%s", styles);
    char* rest = copy;
    for (char* part; (part = strsep(&rest, " ")) != NULL;) {
        if (text == NULL || strcmp(part, text) == 0) {
            peer.style = strdup(part);
            return;
        }
    }
    refuse("--style", text);
}

static void allow_all_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

void peer_parse(int argc, char** argv, const char* styles) {
    enum { address = 1, port, cores, count, bytes, discard, upstream, style, interface, size };
    static const struct option known[] = {
        {"address", required_argument, NULL, address},
        {"port", required_argument, NULL, port},
        {"cores", required_argument, NULL, cores},
        {"exit-after-messages", required_argument, NULL, count},
        {"exit-after-bytes", required_argument, NULL, bytes},
        {"discard", no_argument, NULL, discard},
        {"upstream", required_argument, NULL, upstream},
        {"style", required_argument, NULL, style},
        {"interface", required_argument, NULL, interface},
        {"size", required_argument, NULL, size},
        {NULL, 0, NULL, 0},
    };
    peer.address.s_addr = htonl(INADDR_LOOPBACK);
    peer.port = 7777;
    peer.core_count = 1;
    read_style(NULL, styles);
    for (int found; (found = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (found) {
            case address:
                if (inet_pton(AF_INET, optarg, &peer.address) != 1) refuse("--address", optarg);
                break;
            case port: peer.port = (uint16_t)number_of("--port", optarg, 65535); break;
            case cores: read_cores(optarg); break;
            case count: count_wanted = number_of("--exit-after-messages", optarg, INT64_MAX); break;
            case bytes:
                count_wanted = number_of("--exit-after-bytes", optarg, INT64_MAX);
                peer_counts_bytes = true;
                break;
            case discard: peer.discard = true; break;
            case upstream: read_upstream(optarg); break;
            case style: read_style(optarg, styles); break;
            case interface: peer.interface = optarg; break;
            case size: peer.size = (unsigned)number_of("--size", optarg, 65507); break;
            default: exit(2);
        }
    }
    if (optind < argc) refuse("argument", argv[optind]);
    peer_ends = count_wanted != 0;
    peer_left = (int64_t)count_wanted;
    allow_all_descriptors();
    signal(SIGPIPE, SIG_IGN);
}

int peer_listen(void) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) peer_die("socket", errno);
    const int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    const struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(peer.port), .sin_addr = peer.address};
    if (bind(fd, (const struct sockaddr*)&at, sizeof at) != 0) peer_die("bind", errno);
    if (listen(fd, 4096) != 0) peer_die("listen", errno);
    return fd;
}

static void* run_core(void* core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)(uintptr_t)core, &set);
    // The machine may have fewer CPUs than were asked for: then the scheduler decides.
    if (sched_setaffinity(0, sizeof set, &set) != 0) perror("sched_setaffinity");
    serve_function(peer_listen());
    return NULL;
}

void peer_run(void (*serve)(int listener)) {
    serve_function = serve;
    for (unsigned i = 1; i < peer.core_count; ++i) {
        pthread_t thread;
        const int failed = pthread_create(&thread, NULL, run_core, (void*)(uintptr_t)peer.cores[i]);
        if (failed != 0) peer_die("pthread_create", failed);
    }
    char text[INET_ADDRSTRLEN];
    printf("listening on %s:%u with %u cores\n",
           inet_ntop(AF_INET, &peer.address, text, sizeof text), peer.port, peer.core_count);
    fflush(stdout);
    run_core((void*)(uintptr_t)peer.cores[0]);
}
