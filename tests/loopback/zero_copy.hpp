// SPDX-License-Identifier: Apache-2.0
//! What tests of zero-copy sends share.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/wire.hpp"
#include "sluice/buffer.hpp"
#include "support/skip.hpp"

namespace sluice::testing {

//! Everything goes out without a copy that may, though the kernel copies on loopback.
inline reactor_options zero_copy_options() {
    reactor_options options;
    options.zero_copy_send_from = 1;
    options.zero_copy_send_despite_copies = true;
    return options;
}

//! False, and a skip is reported, where the kernel has no zero-copy send.
inline bool zero_copy_possible() {
    if (make_reactor()->ring_features().has("SEND_ZC")) return true;
    report_skip("this kernel has no SEND_ZC that reports its use (Linux 6.2)");
    return false;
}

//! run_net(), with those options; nothing held is left at the end.
template <class F>
net_outcome run_zero_copy(F fn, const reactor_options& options = zero_copy_options()) {
    net_outcome outcome = run_net(std::move(fn), options);
    CHECK(outcome.net.held_sends == 0);
    CHECK(outcome.net.held_bytes == 0);
    CHECK(outcome.net.lingering == 0);
    return outcome;
}

//! Bytes of a pattern in heap memory.
inline rx_buffer buffer_of(std::uint64_t seed, std::uint64_t offset, std::size_t size) {
    rx_buffer made = rx_buffer::of_heap(size);
    pattern(seed).fill(offset, {made.fill(), size});
    return made;
}

//! A wire whose peer takes little unread, while the stream's own buffer takes a lot: so what is
//! sent is accepted at once, and stays with the sender.
inline task<wire> holding_wire() {
    // With much less the window could stay below a segment, and then only TCP's probes get through.
    wire w = co_await make_wire(32 * 1024);
    if (!w.stream.set_option(SOL_SOCKET, SO_SNDBUF, 4 << 20)) co_return w;  // a registered one
    co_return w;
}

//! Reads so many bytes of the pattern; whether all of them came.
inline bool take_all(plain_socket& from, std::uint64_t seed, std::uint64_t total) {
    pattern_reader reader(seed);
    std::vector<std::byte> space(200'000);
    while (reader.taken() < total) {
        const auto left = std::min<std::uint64_t>(total - reader.taken(), space.size());
        const ssize_t n = from.recv(std::span(space).first(static_cast<std::size_t>(left)));
        if (n <= 0 || !reader.take(std::span(space).first(static_cast<std::size_t>(n))))
            return false;
    }
    return true;
}

}  // namespace sluice::testing

//! A test case for kernels that have zero-copy sends.
#define SLUICE_ZERO_COPY_TEST(name) \
    SLUICE_ZERO_COPY_TEST_NAMED(DOCTEST_ANONYMOUS(sluice_zero_copy_test_), name)
#define SLUICE_ZERO_COPY_TEST_NAMED(function, name)              \
    static void function();                                      \
    TEST_CASE(name) {                                            \
        if (::sluice::testing::zero_copy_possible()) function(); \
    }                                                            \
    static void function()
