// SPDX-License-Identifier: Apache-2.0
//! An rx queue driven by hand, for tests of the simulated kernel below the reactor.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/uring.hpp"
#include "sim/raw_ring.hpp"

namespace sluice::sim {

//! Without a device. The members are what it will be, or was, registered with.
class raw_rx_queue {
public:
    static constexpr std::size_t chunk = 4096;
    static constexpr std::uint64_t event_mark = 0x77;

    raw_rx_queue(detail::kernel& k, raw_ring& r, std::size_t chunks, std::uint32_t entries = 64)
        : kernel_(k), ring_(r) {
        memory_ = map(region_bytes);
        region.user_addr = reinterpret_cast<std::uint64_t>(memory_);
        region.size = region_bytes;
        region.flags = IORING_MEM_REGION_TYPE_USER;
        area = new_area(chunks);
        events.user_data = event_mark;
        events.type_mask = 1U << ZCRX_EVENT_ALLOC_FAIL | 1U << ZCRX_EVENT_COPY;
        events.flags = ZCRX_EVENT_DESC_FLAG_STATS;
        events.stats_offset = region_bytes - sizeof(::zcrx_stats);
        request.rq_entries = entries;
        request.flags = ZCRX_REG_NODEV;
        request.area_ptr = reinterpret_cast<std::uint64_t>(&area);
        request.region_ptr = reinterpret_cast<std::uint64_t>(&region);
        request.event_desc = reinterpret_cast<std::uint64_t>(&events);
    }
    ~raw_rx_queue() {
        kernel_.unmap(memory_, region_bytes);  // first: nothing is written to the areas then
        for (std::byte* a : areas_) kernel_.unmap(a, 0);
    }
    raw_rx_queue(const raw_rx_queue&) = delete;
    raw_rx_queue& operator=(const raw_rx_queue&) = delete;

    int enroll() { return ring_.rings().register_call(IORING_REGISTER_ZCRX_IFQ, &request, 1); }
    int control(zcrx_ctrl& c) {
        c.zcrx_id = request.zcrx_id;
        return ring_.rings().register_call(IORING_REGISTER_ZCRX_CTRL, &c, 0);
    }
    int flush() { return control_of(ZCRX_CTRL_FLUSH_RQ); }
    int arm(std::uint32_t event) {
        zcrx_ctrl c{};
        c.op = ZCRX_CTRL_ARM_EVENT;
        c.zc_arm_event.event_type = event;
        return control(c);
    }
    int add_area(io_uring_zcrx_area_reg& more) {
        zcrx_ctrl c{};
        c.op = ZCRX_CTRL_ADD_AREA;
        c.zc_area.area_ptr = reinterpret_cast<std::uint64_t>(&more);
        return control(c);
    }
    int control_of(std::uint32_t op) {
        zcrx_ctrl c{};
        c.op = op;
        return control(c);
    }

    //! Memory for so many chunks; the next one's number is its place among all.
    io_uring_zcrx_area_reg new_area(std::size_t chunks) {
        areas_.push_back(map(chunks * chunk));
        io_uring_zcrx_area_reg made{};
        made.addr = reinterpret_cast<std::uint64_t>(areas_.back());
        made.len = chunks * chunk;
        return made;
    }

    void receive(int fd, std::uint64_t user_data, unsigned limit = 0) {
        io_uring_sqe& sqe = ring_.next(user_data);
        io_uring_prep_rw(IORING_OP_RECV_ZC, &sqe, fd, nullptr, limit, 0);
        sqe.ioprio |= IORING_RECV_MULTISHOT;
        sqe.zcrx_ifq_idx = request.zcrx_id;
    }
    [[nodiscard]] std::byte* at(std::uint64_t offset) const {
        return areas_[offset >> IORING_ZCRX_AREA_SHIFT] + (offset & ~IORING_ZCRX_AREA_MASK);
    }
    [[nodiscard]] std::string text(const completion& c) const {
        return {reinterpret_cast<const char*>(at(c.second_half)),
                static_cast<std::size_t>(c.result)};
    }
    void give_back(std::uint64_t offset) {
        const io_uring_zcrx_rqe entry{offset, chunk, 0};
        const std::size_t place =
            request.offsets.rqes + (tail_ & (request.rq_entries - 1)) * sizeof entry;
        std::memcpy(memory_ + place, &entry, sizeof entry);
        __atomic_store_n(word(request.offsets.tail), ++tail_, __ATOMIC_RELEASE);
    }
    [[nodiscard]] std::uint32_t head() const { return *word(request.offsets.head); }
    [[nodiscard]] ::zcrx_stats statistics() const {
        ::zcrx_stats s{};
        std::memcpy(&s, memory_ + events.stats_offset, sizeof s);
        return s;
    }

    io_uring_region_desc region{};
    io_uring_zcrx_area_reg area{};
    zcrx_event_desc events{};
    io_uring_zcrx_ifq_reg request{};

private:
    static constexpr std::size_t region_bytes = 8192;
    std::byte* map(std::size_t bytes) {
        int error = 0;
        auto* p = static_cast<std::byte*>(kernel_.map_memory(bytes, error));
        REQUIRE(p != nullptr);
        return p;
    }
    [[nodiscard]] std::uint32_t* word(std::size_t offset) const {
        return reinterpret_cast<std::uint32_t*>(memory_ + offset);
    }

    detail::kernel& kernel_;
    raw_ring& ring_;
    std::byte* memory_ = nullptr;
    std::vector<std::byte*> areas_;
    std::uint32_t tail_ = 0;
};

}  // namespace sluice::sim
