// SPDX-License-Identifier: Apache-2.0
#include "sim/query.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "runtime/uring.hpp"
#include "sim/sim_ring.hpp"

namespace sluice::sim {

namespace {

constexpr unsigned most_questions = 1000;

//! What an answer is written to before as much of it as was asked for is copied.
struct answer {
    std::array<std::byte, 512> bytes{};
    std::size_t size = 0;

    template <class T>
    int is(const T& value) {
        std::memcpy(bytes.data(), &value, sizeof value);
        size = sizeof value;
        return 0;
    }
};

int answer_opcodes(const profile& kernel, answer& to) {
    io_uring_query_opcode o{};
    o.nr_request_opcodes = IORING_OP_LAST;
    o.nr_register_opcodes = IORING_REGISTER_LAST;
    o.feature_flags = sim_ring::feature_bits(kernel);
    o.ring_setup_flags = sim_ring::setup_flags(kernel);
    o.nr_query_opcodes = kernel.zcrx_events    ? IO_URING_QUERY_ZCRX_EVENT + 1
                         : kernel.zcrx_control ? IO_URING_QUERY_SCQ + 1
                                               : IO_URING_QUERY_OPCODES + 1;
    return to.is(o);
}

int answer_zcrx(const profile& kernel, answer& to) {
    if (kernel.zcrx_control == 0) return -EOPNOTSUPP;
    io_uring_query_zcrx z{};
    z.register_flags = ZCRX_REG_IMPORT;
    if (kernel.zcrx_device_less) z.register_flags |= ZCRX_REG_NODEV;
    z.area_flags = IORING_ZCRX_AREA_DMABUF;
    z.nr_ctrl_opcodes = kernel.zcrx_control;
    z.features = ZCRX_FEATURE_RX_PAGE_SIZE;
    if (kernel.zcrx_events) z.features |= ZCRX_FEATURE_EVENT;
    z.rq_hdr_size = 128;
    z.rq_hdr_alignment = 64;
    return to.is(z);
}

int answer_events(const profile& kernel, answer& to) {
    if (!kernel.zcrx_events) return -EOPNOTSUPP;
    io_uring_query_zcrx_event e{};
    e.event_flags = ZCRX_EVENT_DESC_FLAG_STATS;
    e.stats_size = sizeof(::zcrx_stats);
    e.stats_off_alignment = alignof(::zcrx_stats);
    return to.is(e);
}

int answer_one(const profile& kernel, const io_uring_query_hdr& question, answer& to) {
    if (question.result != 0 || question.size == 0) return -EINVAL;
    switch (question.query_op) {
        case IO_URING_QUERY_OPCODES: return answer_opcodes(kernel, to);
        case IO_URING_QUERY_ZCRX: return answer_zcrx(kernel, to);
        case IO_URING_QUERY_ZCRX_EVENT: return answer_events(kernel, to);
        default: return -EOPNOTSUPP;  // IO_URING_QUERY_SCQ: nobody asks
    }
}

}  // namespace

int answer_query(const profile& kernel, void* argument, unsigned count) {
    if (!kernel.queries || count != 0) return -EINVAL;
    auto* question = static_cast<io_uring_query_hdr*>(argument);
    for (unsigned n = 0; question != nullptr; ++n) {
        if (n == most_questions) return -ERANGE;
        answer found;
        question->result = answer_one(kernel, *question, found);
        auto* to = reinterpret_cast<std::byte*>(question->query_data);
        const auto size = std::min<std::size_t>(question->size, found.size);
        std::memset(to, 0, question->size);
        std::memcpy(to, found.bytes.data(), size);
        question->size = static_cast<std::uint32_t>(size);
        question = reinterpret_cast<io_uring_query_hdr*>(question->next_entry);
    }
    return 0;
}

}  // namespace sluice::sim
