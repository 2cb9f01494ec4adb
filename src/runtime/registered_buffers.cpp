// SPDX-License-Identifier: Apache-2.0
#include "runtime/registered_buffers.hpp"

#include <spdlog/spdlog.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "sluice/log.hpp"

namespace sluice::detail {

int registered_buffers::index_of(const shared& region) noexcept {
    if (region == nullptr || limit_ == 0) return none;
    for (std::size_t i = 0; i < slots_.size(); ++i)
        if (slots_[i] == region) return static_cast<int>(i);
    if (std::find(refused_.begin(), refused_.end(), region) != refused_.end()) return none;
    try {
        return add(region);
    } catch (const std::bad_alloc&) {
        return none;
    }
}

int registered_buffers::add(const shared& region) {
    forget_gone();
    if (const int failed = make_table(); failed < 0) {
        refuse(region, -failed);
        return none;
    }
    auto free = std::find(slots_.begin(), slots_.end(), nullptr);
    if (free == slots_.end()) {
        if (slots_.size() == limit_) {
            refuse(region, ENOSPC);
            return none;
        }
        slots_.emplace_back();
        free = slots_.end() - 1;
    }
    const auto index = static_cast<std::size_t>(free - slots_.begin());
    if (const int failed = update(index, region->memory()); failed < 0) {
        refuse(region, -failed);
        return none;
    }
    *free = region;
    return static_cast<int>(index);
}

void registered_buffers::remove(const fixed_region& region) noexcept {
    const auto is_it = [&](const shared& s) { return s.get() == &region; };
    std::erase_if(refused_, is_it);
    const auto found = std::find_if(slots_.begin(), slots_.end(), is_it);
    if (found == slots_.end()) return;
    update(static_cast<std::size_t>(found - slots_.begin()), {});
    found->reset();
}

std::size_t registered_buffers::count() const noexcept {
    return slots_.size() -
           static_cast<std::size_t>(std::count(slots_.begin(), slots_.end(), nullptr));
}

int registered_buffers::make_table() noexcept {
    if (made_) return 0;
    io_uring_rsrc_register table{};
    table.nr = limit_;
    table.flags = IORING_RSRC_REGISTER_SPARSE;
    const int done = ring_.register_call(IORING_REGISTER_BUFFERS2, &table, sizeof table);
    made_ = done >= 0;
    return done;
}

// Empty memory clears the slot.
int registered_buffers::update(std::size_t index, std::span<std::byte> memory) noexcept {
    iovec vector{memory.data(), memory.size()};
    io_uring_rsrc_update2 change{};
    change.offset = static_cast<std::uint32_t>(index);
    change.data = reinterpret_cast<std::uint64_t>(&vector);
    change.nr = 1;
    return ring_.register_call(IORING_REGISTER_BUFFERS_UPDATE, &change, sizeof change);
}

void registered_buffers::forget_gone() noexcept {
    std::erase_if(refused_, [](const shared& s) { return s->gone(); });
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        if (slots_[i] == nullptr || !slots_[i]->gone()) continue;
        update(i, {});
        slots_[i].reset();
    }
}

void registered_buffers::refuse(const shared& region, int error) {
    ++refusals_;
    refused_.push_back(region);
    if (std::exchange(logged_, true)) return;
    const char* remedy = "";
    if (error == ENOMEM) remedy = ": raise RLIMIT_MEMLOCK (ulimit -l)";
    if (error == ENOSPC) remedy = ": raise registered_buffer_slots";
    logger()->warn("{} bytes can't be a fixed buffer of the ring, sends pin their pages each time: "
                   "{}{}",
                   region->memory().size(), errno_error(error).message(), remedy);
}

}  // namespace sluice::detail
