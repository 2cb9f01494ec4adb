// SPDX-License-Identifier: Apache-2.0
// A dma-buf as the area of a NIC's queue: the same connections, without a fallback to copies.

#include <fcntl.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "vm/nic_rig.hpp"
#include "vm/nic_stream.hpp"
#include "vm/zcrx.hpp"

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::reactor_options;
using sluice::task;
using sluice::with_timeout;
using sluice::testing::has_nic;
using sluice::testing::make_nic_wire;
using sluice::testing::make_reactor;
using sluice::testing::nic_rig;
using sluice::testing::nic_transfer;
using sluice::testing::on_nic;
using sluice::testing::pattern;
using sluice::testing::peer_thread;
using sluice::testing::run_zcrx;
using sluice::testing::wire;

namespace {

constexpr std::uint32_t chunks = 1024;
constexpr std::size_t bytes = std::size_t{chunks} * 4096;

//! Memory of ours that is a dma-buf as well: Documentation/driver-api/dma-buf.rst, linux/udmabuf.h.
class udmabuf {
public:
    udmabuf() {
        memory_ = ::memfd_create("area", MFD_ALLOW_SEALING | MFD_CLOEXEC);
        const int device = ::open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
        if (memory_ < 0 || device < 0 || ::ftruncate(memory_, bytes) != 0 ||
            ::fcntl(memory_, F_ADD_SEALS, F_SEAL_SHRINK) != 0)
            throw std::runtime_error("no memory for a udmabuf, or no /dev/udmabuf");
        udmabuf_create what{};
        what.memfd = static_cast<std::uint32_t>(memory_);
        what.flags = UDMABUF_FLAGS_CLOEXEC;
        what.size = bytes;
        fd_ = ::ioctl(device, UDMABUF_CREATE, &what);
        ::close(device);
        void* p = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, memory_, 0);
        if (fd_ < 0 || p == MAP_FAILED) throw std::runtime_error("UDMABUF_CREATE failed");
        data_ = static_cast<const std::byte*>(p);
    }
    ~udmabuf() {
        ::munmap(const_cast<std::byte*>(data_), bytes);
        ::close(fd_);
        ::close(memory_);
    }
    udmabuf(const udmabuf&) = delete;
    udmabuf& operator=(const udmabuf&) = delete;

    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] bool untouched() const {
        const std::span all(data_, bytes);
        return std::all_of(all.begin(), all.end(), [](std::byte b) { return b == std::byte{0}; });
    }

private:
    int memory_ = -1;
    int fd_ = -1;
    const std::byte* data_ = nullptr;
};

reactor_options on_dma_buf(const udmabuf& area) {
    reactor_options options = on_nic(chunks);
    options.zcrx.dma_buf = area.fd();
    options.zcrx.area_bytes = 0;  // it does not count
    options.zcrx.max_area_bytes = SIZE_MAX;
    return options;
}

std::string refusal(const reactor_options& options) {
    const auto home = make_reactor(options);
    return sluice::testing::why_not_listening(*home);
}

}  // namespace

TEST_SUITE_BEGIN("vm.dma_buf");

TEST_CASE("nic: payload arrives in a dma-buf") {
    if (!has_nic()) return;
    nic_rig nic;
    const udmabuf area;
    CHECK(area.untouched());
    constexpr std::uint64_t total = 2 * bytes;
    const auto outcome = nic_transfer(nic, total, on_dma_buf(area));
    CHECK(!area.untouched());
    CHECK(outcome.net.net.zero_copy_bytes == total);
    CHECK(outcome.queue.chunks == chunks);
    CHECK(outcome.queue.copied_bytes == 0);
    CHECK(nic_rig::counter("provider_bytes") >= total);
}

TEST_CASE("nic: what lies in a dma-buf can be sent back") {
    if (!has_nic()) return;
    nic_rig nic;
    const udmabuf area;
    constexpr std::uint64_t total = 1 << 20;
    reactor_options options = on_dma_buf(area);
    options.zero_copy_send_from = 1024;
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> {
            wire w = co_await make_nic_wire(home, nic);
            peer_thread sender([&] {
                CHECK(w.peer.send(pattern(5).bytes(0, total)));
                w.peer.shutdown_write();
            });
            std::vector<std::byte> back(total);
            bool all = false;
            peer_thread reader([&] { all = w.peer.recv_exact(back); });
            for (;;) {
                auto chunk = co_await with_timeout(40s, w.stream.recv());
                if (!chunk) break;
                auto sent = co_await w.stream.send_all(std::move(*chunk));
                REQUIRE(sent.has_value());
            }
            co_await sender.finished();
            co_await reader.finished();
            CHECK(all);
            CHECK(pattern(5).matches(0, back));
        },
        options);
    CHECK(outcome.net.net.zero_copy_refused > 0);
}

TEST_CASE("nic: a dma-buf has no fallback to copies, which is said and not hidden") {
    if (!has_nic()) return;
    nic_rig nic;
    const udmabuf area;
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> {
            wire elsewhere = co_await make_nic_wire(home, nic, 2);
            CHECK(elsewhere.peer.send(pattern(1).bytes(0, 4096)));
            auto got = co_await with_timeout(20s, elsewhere.stream.recv());
            REQUIRE(!got.has_value());
            CHECK(got.error() == boost::system::errc::operation_not_supported);
            // Others have not noticed.
            wire here = co_await make_nic_wire(home, nic);
            CHECK(here.peer.send(pattern(2).bytes(0, 1000)));
            got = co_await with_timeout(20s, here.stream.recv());
            REQUIRE(got.has_value());
            CHECK(pattern(2).matches(0, got->bytes()));
        },
        on_dma_buf(area));
    CHECK(outcome.net.net.heap_receives == 0);
    CHECK(outcome.net.net.bytes_in == 1000);
}

TEST_CASE("nic: a dma-buf never grows: what is missing to it, the ladder copies") {
    if (!has_nic()) return;
    nic_rig nic;
    const udmabuf area;
    const auto outcome = run_zcrx(
        [&](reactor& home) -> task<> {
            wire w = co_await make_nic_wire(home, nic);
            peer_thread sender([&] {
                CHECK(w.peer.send(pattern(7).bytes(0, 2 * bytes)));
                w.peer.shutdown_write();
            });
            std::vector<sluice::rx_buffer> kept;
            std::uint64_t taken = 0;
            for (;;) {
                auto chunk = co_await with_timeout(40s, w.stream.recv());
                if (!chunk) break;
                CHECK(pattern(7).matches(taken, chunk->bytes()));
                taken += chunk->size();
                kept.push_back(std::move(*chunk));
            }
            CHECK(taken == 2 * bytes);
            co_await sender.finished();
        },
        on_dma_buf(area));
    CHECK(outcome.queue.areas == 1);
    CHECK(outcome.queue.areas_refused == 0);
    CHECK(outcome.net.net.copied_out > 0);
    CHECK(outcome.net.net.zero_copy_bytes > 0);
}

TEST_CASE("nic: a dma-buf that cannot be the area, in words") {
    if (!has_nic()) return;
    nic_rig nic;
    const udmabuf area;
    reactor_options options = on_dma_buf(area);
    options.zcrx.device_less = true;
    CHECK(refusal(options).find("a dma-buf is for the queue of an interface") != std::string::npos);
    options = on_dma_buf(area);
    options.zcrx.dma_buf = 10'000;
    CHECK(refusal(options).find("the dma-buf cannot be mapped") != std::string::npos);
    CHECK(nic_rig::counter("provider_bound") == 0);
}

TEST_SUITE_END();
