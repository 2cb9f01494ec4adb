// SPDX-License-Identifier: Apache-2.0
//! io_uring_register(2) of a simulated ring, as far as zero-copy receive goes.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "sim/sim_ring.hpp"

namespace sluice::sim {

namespace {

constexpr std::uint32_t most_entries = 32768;

bool good(const zcrx_event_desc& events, bool known) noexcept {
    if (!known) return false;
    if ((events.type_mask & ~(1U << ZCRX_EVENT_ALLOC_FAIL | 1U << ZCRX_EVENT_COPY)) != 0)
        return false;
    if ((events.flags & ~unsigned{ZCRX_EVENT_DESC_FLAG_STATS}) != 0) return false;
    return events.flags != 0 || events.stats_offset == 0;
}

// Where statistics lie: behind the entries and inside the region.
int check_statistics(const zcrx_event_desc& events, std::size_t used, std::size_t region) noexcept {
    if ((events.flags & ZCRX_EVENT_DESC_FLAG_STATS) == 0) return 0;
    if (events.stats_offset % alignof(::zcrx_stats) != 0) return -EINVAL;
    const bool inside = events.stats_offset >= used && events.stats_offset <= region &&
                        region - events.stats_offset >= sizeof(::zcrx_stats);
    return inside ? 0 : -ERANGE;
}

}  // namespace

int sim_ring::register_zcrx(io_uring_zcrx_ifq_reg& request) {
    const profile& kernel = world_.options.kernel;
    if (!kernel.zcrx) return -EINVAL;
    if (!world_.options.net_admin) return -EPERM;
    if (!deferred_ || !queues_.has_big_cqes()) return -EINVAL;
    unsigned known = 0;
    if (kernel.zcrx_control != 0) known |= ZCRX_REG_IMPORT;
    if (kernel.zcrx_device_less) known |= ZCRX_REG_NODEV;
    if (request.zcrx_id != 0 || (request.flags & ~known) != 0) return -EINVAL;
    if ((request.flags & ZCRX_REG_IMPORT) != 0) return import_zcrx(request);
    auto* region = reinterpret_cast<const io_uring_region_desc*>(request.region_ptr);
    auto* area = reinterpret_cast<io_uring_zcrx_area_reg*>(request.area_ptr);
    if (region == nullptr || area == nullptr) return -EFAULT;
    if (request.if_rxq == UINT32_MAX || request.rq_entries == 0) return -EINVAL;
    const bool device_less = (request.flags & ZCRX_REG_NODEV) != 0;
    if (device_less && (request.if_rxq != 0 || request.if_idx != 0)) return -EINVAL;
    if (request.rq_entries > most_entries) return -EINVAL;
    request.rq_entries = std::bit_ceil(request.rq_entries);

    zcrx_event_desc events{};
    if (request.event_desc != 0) {
        events = *reinterpret_cast<const zcrx_event_desc*>(request.event_desc);
        if (!good(events, kernel.zcrx_events)) return -EINVAL;
    }
    request.offsets = zcrx_queue::offsets();
    const std::size_t used = request.offsets.rqes + request.rq_entries * sizeof(io_uring_zcrx_rqe);
    if (region->flags != IORING_MEM_REGION_TYPE_USER || used > region->size) return -EINVAL;
    if (const int bad = check_statistics(events, used, region->size); bad != 0) return bad;
    if (!device_less) return -ENODEV;  // there is no interface
    if (request.rx_buf_len != 0 && request.rx_buf_len != zcrx_queue::chunk_bytes)
        return -EOPNOTSUPP;

    auto made = std::make_shared<zcrx_queue>(
        world_, zcrx_queue::terms{reinterpret_cast<void*>(region->user_addr), request.rq_entries,
                                  events, [weak = weak_from_this()](auto data, auto type) {
                                      if (const auto self = weak.lock()) self->tell(data, type);
                                  }});
    const std::int64_t token = made->add(*area);
    if (token < 0) return static_cast<int>(token);
    area->rq_area_token = static_cast<std::uint64_t>(token);
    request.rx_buf_len = zcrx_queue::chunk_bytes;
    request.zcrx_id = install(std::move(made));
    return 0;
}

std::uint32_t sim_ring::install(std::shared_ptr<zcrx_queue> queue) {
    std::uint32_t id = 0;
    while (zcrx_.contains(id)) ++id;
    zcrx_[id] = std::move(queue);
    return id;
}

int sim_ring::import_zcrx(io_uring_zcrx_ifq_reg& request) {
    if (request.if_rxq != 0 || request.rq_entries != 0 || request.area_ptr != 0 ||
        request.region_ptr != 0 || request.event_desc != 0 || request.flags != ZCRX_REG_IMPORT)
        return -EINVAL;
    const auto exported = descriptors_.find_as<zcrx_export>(static_cast<int>(request.if_idx));
    if (exported == nullptr) return -EBADF;
    request.offsets = zcrx_queue::offsets();
    request.zcrx_id = install(exported->queue());
    return 0;
}

int sim_ring::control_zcrx(zcrx_ctrl& request) {
    const auto found = zcrx_.find(request.zcrx_id);
    if (world_.options.kernel.zcrx_control == 0) return -EINVAL;
    if (found == zcrx_.end()) return -ENXIO;
    if (request.op >= world_.options.kernel.zcrx_control) return -EOPNOTSUPP;
    zcrx_queue& queue = *found->second;
    switch (request.op) {
        case ZCRX_CTRL_FLUSH_RQ: queue.flush(); return 0;
        case ZCRX_CTRL_EXPORT: {
            const int fd =
                descriptors_.install(std::make_shared<zcrx_export>(world_, found->second));
            if (fd < 0) return fd;
            request.zc_export.zcrx_fd = static_cast<std::uint32_t>(fd);
            return 0;
        }
        case ZCRX_CTRL_ARM_EVENT: return queue.arm(request.zc_arm_event.event_type);
        default: break;
    }
    auto* area = reinterpret_cast<io_uring_zcrx_area_reg*>(request.zc_area.area_ptr);
    if (area == nullptr) return -EFAULT;
    const std::int64_t token = queue.add(*area);
    if (token < 0) return static_cast<int>(token);
    area->rq_area_token = static_cast<std::uint64_t>(token);
    return 0;
}

zcrx_queue* sim_ring::rx_queue(std::uint32_t id) {
    const auto found = zcrx_.find(id);
    return found == zcrx_.end() ? nullptr : found->second.get();
}

void sim_ring::tell(std::uint64_t user_data, std::int32_t event_type) {
    notices_.push_back({user_data, event_type});
    queues_.set_task_run(true);
}

std::size_t sim_ring::lent_chunks() {
    std::size_t lent = 0;
    for (const auto& [id, z] : zcrx_) {
        z->audit();
        lent += z->lent();
    }
    return lent;
}

}  // namespace sluice::sim
