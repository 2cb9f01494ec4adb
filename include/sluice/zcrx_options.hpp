// SPDX-License-Identifier: Apache-2.0
//! Zero-copy receive: what a reactor is to have of it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace sluice {

struct rss_table;  // sluice/rss.hpp

//! How the bytes of a connection reach the program.
enum class receive_mode : std::uint8_t {
    automatic,  //!< zero copy where the reactor has an rx queue, else copies
    zc,         //!< zero copy, or failure
    copy,       //!< the kernel copies into provided buffers
};

//! The pages of an area. What can't be had is replaced by the next one in the list.
enum class page_kind : std::uint8_t {
    huge,         //!< MAP_HUGETLB: from the pool of the administrator, 2 MiB each
    transparent,  //!< madvise(MADV_HUGEPAGE): 2 MiB where the kernel finds them
    small,
};

//! The levels of filling at which the copy ladder copies, in percent of the buffers: a rung is
//! entered when fewer are free, and left when `margin` more are. A mark of 0: never.
struct ladder_marks {
    std::uint32_t small_copy = 25;  //!< small slices are copied at once
    std::uint32_t full_copy = 12;   //!< every slice is
    std::uint32_t evacuate = 6;     //!< slices that wait in connections are moved to the heap too
    std::uint32_t margin = 12;
};

//! An rx queue of a reactor: kernel 6.15 and CAP_NET_ADMIN for the queue of a network interface,
//! kernel 7.1 and CAP_NET_ADMIN without one. (io_uring zero copy Rx, Documentation/networking/
//! iou-zcrx.rst)
struct zcrx_options {
    receive_mode mode = receive_mode::automatic;  //!< of the reactor, and default of its listeners

    //! The interface, by name, and the rx queue of the first reactor; reactor i takes the i-th one
    //! after it. Empty: none.
    std::string interface;
    std::uint32_t first_queue = 0;
    //! Mode zc: how long to wait, with the reactor standing still, for a queue that is taken: a
    //! process that has ended, or was killed, keeps its queues until the kernel has closed its
    //! ring.
    std::chrono::milliseconds bind_wait{2000};
    //! Mode automatic: a queue that was taken at the start is asked for again so often, and when it
    //! can be had connections go on without copies, those that are there too. 0: never.
    //! CAP_NET_ADMIN is needed for so long.
    std::chrono::milliseconds bind_retry{500};
    //! No interface: the kernel copies into the area. For tests, and for machines without a NIC.
    bool device_less = false;
    //! So many reactors of a service, neighbours by index, share a queue (kernel 6.19); likewise
    //! reactors of the process that are in no service.
    std::uint32_t reactors_per_queue = 1;
    //! How the interface spreads packets of the connections that are opened here over the queues:
    //! for connect_options::to_own_queue. nic_session::use() sets it.
    std::shared_ptr<const rss_table> replies{};

    std::size_t area_bytes = std::size_t{64} << 20;       //!< rounded up to whole pages
    std::size_t max_area_bytes = std::size_t{256} << 20;  //!< grows up to this (kernel 7.3)
    std::uint32_t chunk_bytes = 4096;  //!< a power of two; more than a page: kernel 7.0, huge pages
    page_kind pages = page_kind::huge;
    int numa_node = -1;  //!< of the area; -1: where the reactor runs
    //! A dma-buf (udmabuf, a GPU's) that is the area instead of memory of sluice's own: all of it,
    //! for one reactor and the queue of an interface; kernel 6.16. It never grows, and
    //! `area_bytes`, `pages` and `numa_node` do not count. The descriptor stays the caller's, who
    //! may close it once the reactor has its queue; the process must be able to map it. The kernel
    //! can't read or write it: a connection whose bytes do not come by the queue, so that they
    //! would have to be copied there, ends with EOPNOTSUPP. (io_uring_register(2), udmabuf(4)) -1:
    //! none
    int dma_buf = -1;
    std::uint32_t refill_entries = 0;  //!< a power of two, at most 32768; 0: as many as chunks
    std::uint32_t posted_chunks = 0;   //!< that the NIC holds in its own ring; counted as used

    ladder_marks marks{};
    std::uint32_t copy_always_below = 2048;  //!< bytes; such slices aren't worth a chunk
    //! Chunks that the coroutines of one connection and its queue may hold; the admission rule
    //! grants less when the area, without what the NIC has posted and the sockets' receive buffers
    //! (SO_RCVBUF) can take, has less. A connection that holds more gets copies. 0: no cap, and
    //! no room is granted before.
    std::uint32_t max_leases_per_connection = 64;

    //! Whether an rx queue is to be set up at all.
    [[nodiscard]] bool wanted() const noexcept {
        return mode != receive_mode::copy && (device_less || !interface.empty());
    }
};

}  // namespace sluice
