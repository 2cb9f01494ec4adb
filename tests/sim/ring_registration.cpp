// SPDX-License-Identifier: Apache-2.0
//! io_uring_register(2) of a simulated ring.
#include <bit>
#include <cerrno>
#include <utility>

#include "sim/operations.hpp"
#include "sim/sim_ring.hpp"

namespace sluice::sim {

namespace {

constexpr std::uint32_t most_buffers = 32768;
constexpr std::uint64_t page_mask = 4095;

}  // namespace

int sim_ring::register_call(unsigned opcode, void* argument, unsigned count) {
    switch (opcode) {
        case IORING_REGISTER_PBUF_RING:
            if (argument == nullptr || count != 1) return -EINVAL;
            return register_buffers(*static_cast<const io_uring_buf_reg*>(argument));
        case IORING_UNREGISTER_PBUF_RING:
            if (argument == nullptr || count != 1) return -EINVAL;
            return unregister_buffers(static_cast<const io_uring_buf_reg*>(argument)->bgid);
        case IORING_REGISTER_FILES:
            if (argument == nullptr || count == 0) return -EINVAL;
            return register_file_array(static_cast<const std::int32_t*>(argument), count);
        case IORING_REGISTER_FILES2:
            if (argument == nullptr || count != sizeof(io_uring_rsrc_register)) return -EINVAL;
            return register_files(*static_cast<const io_uring_rsrc_register*>(argument));
        case IORING_REGISTER_BUFFERS2:
            if (argument == nullptr || count != sizeof(io_uring_rsrc_register)) return -EINVAL;
            return register_fixed(*static_cast<const io_uring_rsrc_register*>(argument));
        case IORING_REGISTER_BUFFERS_UPDATE:
            if (argument == nullptr || count != sizeof(io_uring_rsrc_update2)) return -EINVAL;
            return update_fixed(*static_cast<const io_uring_rsrc_update2*>(argument));
        case IORING_UNREGISTER_BUFFERS: return fixed_.drop();
        case IORING_UNREGISTER_FILES:
            if (!files_.made()) return -ENXIO;
            files_.drop();
            return 0;
        case IORING_REGISTER_FILE_ALLOC_RANGE: {
            if (argument == nullptr || count != 0) return -EINVAL;
            const auto& range = *static_cast<const io_uring_file_index_range*>(argument);
            return range.resv != 0 ? -EINVAL : files_.set_alloc_range(range.off, range.len);
        }
        case IORING_REGISTER_ZCRX_IFQ:
            if (argument == nullptr || count != 1) return -EINVAL;
            return register_zcrx(*static_cast<io_uring_zcrx_ifq_reg*>(argument));
        case IORING_REGISTER_ZCRX_CTRL:
            if (argument == nullptr || count != 0) return -EINVAL;
            return control_zcrx(*static_cast<zcrx_ctrl*>(argument));
        default: return -EINVAL;  // NAPI and all that is newer
    }
}

int sim_ring::register_buffers(const io_uring_buf_reg& registration) {
    const profile& kernel = world_.options.kernel;
    unsigned known = 0;
    if (kernel.buffer_ring_mmap) known |= IOU_PBUF_RING_MMAP;
    if (kernel.buffer_ring_inc) known |= IOU_PBUF_RING_INC;
    if ((registration.flags & ~known) != 0) return -EINVAL;
    const bool own_memory = (registration.flags & IOU_PBUF_RING_MMAP) != 0;
    if (own_memory == (registration.ring_addr != 0)) return own_memory ? -EINVAL : -EFAULT;
    if ((registration.ring_addr & page_mask) != 0) return -EINVAL;
    const std::uint32_t entries = registration.ring_entries;
    if (!std::has_single_bit(entries) || entries > most_buffers) return -EINVAL;
    if (groups_.contains(registration.bgid)) return -EEXIST;
    groups_[registration.bgid] =
        own_memory ? std::make_unique<buffer_group>(world_, registration)
                   : std::make_unique<buffer_group>(
                         world_, registration,
                         reinterpret_cast<io_uring_buf_ring*>(registration.ring_addr));
    return 0;
}

int sim_ring::unregister_buffers(std::uint16_t id) {
    const auto found = groups_.find(id);
    if (found == groups_.end()) return -ENOENT;
    found->second->audit();
    groups_.erase(found);
    return 0;
}

int sim_ring::register_files(const io_uring_rsrc_register& registration) {
    if (registration.resv2 != 0 || registration.nr == 0) return -EINVAL;
    if ((registration.flags & ~IORING_RSRC_REGISTER_SPARSE) != 0) return -EINVAL;
    if ((registration.flags & IORING_RSRC_REGISTER_SPARSE) == 0)
        return register_file_array(reinterpret_cast<const std::int32_t*>(registration.data),
                                   registration.nr);
    if (registration.data != 0) return -EINVAL;
    if (files_.made()) return -EBUSY;
    files_.make(std::vector<std::shared_ptr<sim_file>>(registration.nr));
    return 0;
}

// Sparse only: memory comes with updates.
int sim_ring::register_fixed(const io_uring_rsrc_register& registration) {
    if (registration.resv2 != 0 || registration.flags != IORING_RSRC_REGISTER_SPARSE ||
        registration.data != 0)
        return -EINVAL;
    return fixed_.make(registration.nr);
}

int sim_ring::update_fixed(const io_uring_rsrc_update2& update) {
    if (update.resv != 0 || update.resv2 != 0 || update.tags != 0 || update.nr != 1) return -EINVAL;
    return fixed_.update(update.offset, *reinterpret_cast<const iovec*>(update.data),
                         world_.options.lockable);
}

int sim_ring::register_file_array(const std::int32_t* descriptors, unsigned count) {
    if (files_.made()) return -EBUSY;
    std::vector<std::shared_ptr<sim_file>> slots(count);
    for (unsigned i = 0; i < count; ++i) {
        if (descriptors[i] == -1) continue;
        slots[i] = descriptors_.find(descriptors[i]);
        if (slots[i] == nullptr) return -EBADF;
    }
    files_.make(std::move(slots));
    return 0;
}

}  // namespace sluice::sim
