// SPDX-License-Identifier: Apache-2.0
/// Receives UDP datagrams by an AF_XDP socket on queue 0 of an interface, in copy mode, with the
/// XDP program that libxdp brings: that sends all frames of the queue here, so that the kernel's
/// own protocols, ARP too, see none of them.
///   --interface NAME --port N [--exit-after-bytes N]
/// Says on SIGTERM how many bytes of payload came, and how many bytes the kernel has copied for
/// that.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_link.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#include "datagram.h"
#include "peer.h"

enum { frame_size = XSK_UMEM__DEFAULT_FRAME_SIZE, frames = datagram_room / frame_size };

static void* area;
static struct xsk_umem* umem;
static struct xsk_socket* xsk;
static struct xsk_ring_prod fill;
static struct xsk_ring_cons completions, received;
static bool copies;

static __attribute__((noreturn)) void refuse(const char* what, int failed) {
    if (failed == -EPERM || failed == -EACCES || failed == -EOPNOTSUPP || failed == -ENOSYS ||
        failed == -EAFNOSUPPORT || failed == -EPROTONOSUPPORT) {
        char why[128];
        snprintf(why, sizeof why, "%s: %s (AF_XDP and loading a BPF program need root)", what,
                 strerror(-failed));
        peer_skip(why);
    }
    peer_die(what, -failed);
}

/// All frames go to the kernel, which fills them in turn.
static void open_umem(void) {
    area = mmap(NULL, datagram_room, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (area == MAP_FAILED) peer_die("mmap", errno);
    const struct xsk_umem_config how = {.fill_size = frames,
                                        .comp_size = XSK_RING_CONS__DEFAULT_NUM_DESCS,
                                        .frame_size = frame_size};
    const int failed = xsk_umem__create(&umem, area, datagram_room, &fill, &completions, &how);
    if (failed != 0) refuse("xsk_umem__create", failed);
    uint32_t at = 0;
    if (xsk_ring_prod__reserve(&fill, frames, &at) != frames) peer_die("fill ring", ENOBUFS);
    for (uint32_t i = 0; i < frames; ++i)
        *xsk_ring_prod__fill_addr(&fill, at + i) = (uint64_t)i * frame_size;
    xsk_ring_prod__submit(&fill, frames);
}

static void open_socket(void) {
    const struct xsk_socket_config how = {
        .rx_size = frames, .xdp_flags = XDP_FLAGS_DRV_MODE, .bind_flags = XDP_COPY};
    const int failed = xsk_socket__create(&xsk, peer.interface, 0, umem, &received, NULL, &how);
    if (failed != 0) refuse("xsk_socket__create", failed);
    struct xdp_options options = {0};
    socklen_t size = sizeof options;
    if (getsockopt(xsk_socket__fd(xsk), SOL_XDP, XDP_OPTIONS, &options, &size) != 0)
        peer_die("XDP_OPTIONS", errno);
    copies = (options.flags & XDP_OPTIONS_ZEROCOPY) == 0;
}

static void close_socket(void) {
    xsk_socket__delete(xsk);  // takes the XDP program off the interface
    xsk_umem__delete(umem);
}

/// Bytes of the payload, if it is a datagram for the port; or 0.
static size_t payload_of(const unsigned char* frame, size_t size) {
    const struct ether_header* link = (const struct ether_header*)frame;
    const struct iphdr* ip = (const struct iphdr*)(frame + sizeof *link);
    if (size < sizeof *link + sizeof *ip || link->ether_type != htons(ETHERTYPE_IP)) return 0;
    const size_t before = sizeof *link + ip->ihl * 4U;
    const struct udphdr* udp = (const struct udphdr*)(frame + before);
    if (ip->protocol != IPPROTO_UDP || size < before + sizeof *udp) return 0;
    const size_t length = ntohs(udp->len);
    if (udp->dest != htons(peer.port) || length < sizeof *udp || size < before + length) return 0;
    return length - sizeof *udp;
}

static void take(const struct xdp_desc* frame) {
    const size_t size = payload_of(xsk_umem__get_data(area, frame->addr), frame->len);
    datagram_received += size;
    if (copies) datagram_copied += frame->len;
    // Its end would leave the program on the interface.
    if (peer_ends && peer_left <= (int64_t)size) close_socket();
    peer_count(size);
}

static void receive_some(void) {
    uint32_t from = 0, to = 0;
    const uint32_t got = xsk_ring_cons__peek(&received, datagram_batch, &from);
    if (got == 0) {
        struct pollfd wanted = {.fd = xsk_socket__fd(xsk), .events = POLLIN};
        if (poll(&wanted, 1, datagram_patience_ms) < 0 && errno != EINTR) peer_die("poll", errno);
        return;
    }
    // What is not in the fill ring is here: it has room for all.
    xsk_ring_prod__reserve(&fill, got, &to);
    for (uint32_t i = 0; i < got; ++i) {
        const struct xdp_desc* frame = xsk_ring_cons__rx_desc(&received, from + i);
        take(frame);
        *xsk_ring_prod__fill_addr(&fill, to + i) = frame->addr;
    }
    xsk_ring_prod__submit(&fill, got);
    xsk_ring_cons__release(&received, got);
}

int main(int argc, char** argv) {
    peer_parse(argc, argv, "");
    if (peer.interface == NULL) peer_die("--interface", EINVAL);
    // The program alone, with no dispatcher for several of them, which would be pinned in bpffs.
    setenv("LIBXDP_SKIP_DISPATCHER", "1", 1);
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &unlimited);
    open_umem();
    open_socket();
    datagram_begin(peer.port);
    while (!datagram_ended) receive_some();
    close_socket();
    datagram_report();
}
