// SPDX-License-Identifier: Apache-2.0
#include "zcrx/support.hpp"

#include <linux/io_uring/query.h>
#include <linux/io_uring/zcrx.h>

#include <array>
#include <string>

#include "runtime/uring.hpp"

namespace sluice::detail {

namespace {

// One question. False: the kernel knows no questions, or not this one.
template <class Answer>
bool query(kernel& k, std::uint32_t what, Answer& answer) noexcept {
    io_uring_query_hdr question{};
    question.query_data = reinterpret_cast<std::uint64_t>(&answer);
    question.query_op = what;
    question.size = sizeof answer;
    return k.uring_register(-1, IORING_REGISTER_QUERY, &question, 0) >= 0 && question.result >= 0;
}

}  // namespace

zcrx_support zcrx_support::ask(kernel& k) noexcept {
    zcrx_support found;
    io_uring_query_opcode operations{};
    if (!query(k, IO_URING_QUERY_OPCODES, operations)) return found;
    found.recv_zc = operations.nr_request_opcodes > IORING_OP_RECV_ZC;
    found.mixed_cqes = (operations.ring_setup_flags & IORING_SETUP_CQE_MIXED) != 0;
    // Questions came with 6.18, several queues to a ring and dma-bufs with 6.16.
    found.several_queues = found.recv_zc;
    found.dma_buf_areas = found.recv_zc;

    io_uring_query_zcrx zcrx{};
    if (!query(k, IO_URING_QUERY_ZCRX, zcrx)) return found;
    found.queried = true;
    found.dma_buf_areas = (zcrx.area_flags & IORING_ZCRX_AREA_DMABUF) != 0;
    found.import = (zcrx.register_flags & ZCRX_REG_IMPORT) != 0;
    found.device_less = (zcrx.register_flags & ZCRX_REG_NODEV) != 0;
    found.rx_buf_len = (zcrx.features & ZCRX_FEATURE_RX_PAGE_SIZE) != 0;
    found.events = (zcrx.features & ZCRX_FEATURE_EVENT) != 0;
    found.flush = zcrx.nr_ctrl_opcodes > ZCRX_CTRL_FLUSH_RQ;
    found.export_queue = zcrx.nr_ctrl_opcodes > ZCRX_CTRL_EXPORT;
    found.add_area = zcrx.nr_ctrl_opcodes > ZCRX_CTRL_ADD_AREA;

    io_uring_query_zcrx_event event{};
    if (found.events && query(k, IO_URING_QUERY_ZCRX_EVENT, event))
        found.statistics = event.stats_size >= sizeof(::zcrx_stats);
    return found;
}

void zcrx_support::describe(features& into) const {
    struct entry {
        const char* name;
        bool there;
        const char* since;
    };
    const std::array entries{
        entry{"RECV_ZC", recv_zc, "6.15"},
        entry{"ZCRX_CQE_MIXED", mixed_cqes, "6.18; below, all CQEs have 32 bytes"},
        entry{"ZCRX_SEVERAL_QUEUES", several_queues, "6.16"},
        entry{"ZCRX_DMABUF", dma_buf_areas, "6.16"},
        entry{"ZCRX_FLUSH_RQ", flush, "6.19"},
        entry{"ZCRX_EXPORT", export_queue && import, "6.19"},
        entry{"ZCRX_RX_BUF_LEN", rx_buf_len, "7.0"},
        entry{"ZCRX_NODEV", device_less, "7.1"},
        entry{"ZCRX_EVENTS", events, "7.2"},
        entry{"ZCRX_STATS", statistics, "7.2"},
        entry{"ZCRX_ADD_AREA", add_area, "7.3"},
    };
    for (const entry& e : entries)
        into.set(e.name, e.there, e.there ? std::string{} : std::string("needs kernel ") + e.since);
}

}  // namespace sluice::detail
