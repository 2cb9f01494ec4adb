// SPDX-License-Identifier: Apache-2.0
//! Coroutines on a reactor with a device-less rx queue, books checked at the end.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <utility>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"
#include "sluice/zcrx_stats.hpp"
#include "support/mode.hpp"
#include "support/skip.hpp"

namespace sluice::testing {

//! Whether this kernel registers device-less rx queues for us; prints why the test is skipped if
//! not.
bool has_device_less_queues();

//! An area of `chunks` chunks that never grows, with copies only where the ladder demands them.
inline reactor_options small_area(std::uint32_t chunks) {
    reactor_options options;
    use_rx_queue(options);
    options.zcrx.area_bytes = std::size_t{chunks} * 4096;
    options.zcrx.max_area_bytes = options.zcrx.area_bytes;
    options.zcrx.copy_always_below = 0;
    options.zcrx.max_leases_per_connection = 0;
    return options;
}

//! The same, for tests that hold every chunk: no rung of the ladder copies, and receives that find
//! no chunk wait for one.
inline reactor_options bare_area(std::uint32_t chunks) {
    reactor_options options = small_area(chunks);
    options.zcrx.marks = {0, 0, 0, 0};
    options.copy_out_below = 0;
    options.heap_receive_size = 0;
    options.max_pending_bytes = 256 * 1024;  // what waits is moved to the heap in need
    return options;
}

//! Fails the test unless every token has been given back. `posted`: what the NIC is said to hold.
inline void check_zcrx_books(const zcrx_stats& s, std::uint32_t posted = 0) {
    CHECK(s.in_use);
    CHECK(s.balanced());
    CHECK(s.tokens_held == 0);
    CHECK(s.handles == 0);
    CHECK(s.chunks_out == posted);
}

struct zcrx_outcome {
    net_outcome net;
    zcrx_stats queue;
};

//! As run_net(), with the books of the rx queue checked too. Longer than `limit` it hangs.
template <class F>
zcrx_outcome run_zcrx(F fn, const reactor_options& options,
                      std::chrono::seconds limit = std::chrono::seconds(60)) {
    const watchdog over_limit(limit);
    const auto home = make_reactor(options);
    std::exception_ptr escaped;
    home->spawn(detail::guard<F>, &fn, home.get(), &escaped);
    home->run_until_idle();
    home->spawn([]() -> task<> { co_await some_turns(); });
    const net_outcome net = settle(*home);
    const zcrx_outcome outcome{net, zcrx_stats_of(*home)};
    if (escaped) std::rethrow_exception(escaped);
    check_zcrx_books(outcome.queue, options.zcrx.posted_chunks);
    return outcome;
}

}  // namespace sluice::testing
