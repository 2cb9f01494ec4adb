// SPDX-License-Identifier: Apache-2.0
#include "sim/registered_files.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluice::sim {

void registered_files::make(std::vector<std::shared_ptr<sim_file>> slots) {
    slots_ = std::move(slots);
    alloc_first_ = hint_ = 0;
    alloc_end_ = slots_.size();
}

int registered_files::set_alloc_range(std::uint32_t first, std::uint32_t count) {
    const std::size_t end = std::size_t{first} + count;
    if (end > UINT32_MAX) return -EOVERFLOW;
    if (end > slots_.size()) return -EINVAL;
    alloc_first_ = hint_ = first;
    alloc_end_ = end;
    return 0;
}

std::shared_ptr<sim_file> registered_files::find(std::uint32_t slot) const noexcept {
    return slot < slots_.size() ? slots_[slot] : nullptr;
}

int registered_files::install(std::shared_ptr<sim_file> file) {
    const std::size_t count = alloc_end_ - alloc_first_;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t slot = alloc_first_ + (hint_ - alloc_first_ + i) % count;
        if (slots_[slot] != nullptr) continue;
        slots_[slot] = std::move(file);
        hint_ = slot + 1 == alloc_end_ ? alloc_first_ : slot + 1;
        return static_cast<int>(slot);
    }
    return -ENFILE;
}

int registered_files::install_at(std::uint32_t slot, std::shared_ptr<sim_file> file) {
    if (!made()) return -ENXIO;
    if (slot >= slots_.size()) return -EINVAL;
    const auto before = std::exchange(slots_[slot], std::move(file));
    return 0;
}

int registered_files::close(std::uint32_t slot) {
    if (!made()) return -ENXIO;
    if (slot >= slots_.size()) return -EINVAL;
    if (slots_[slot] == nullptr) return -EBADF;
    const auto gone = std::exchange(slots_[slot], nullptr);
    hint_ = std::clamp<std::size_t>(slot, alloc_first_, alloc_end_ - 1);
    return 0;
}

std::size_t registered_files::used() const noexcept {
    return static_cast<std::size_t>(
        std::count_if(slots_.begin(), slots_.end(), [](const auto& f) { return f != nullptr; }));
}

}  // namespace sluice::sim
