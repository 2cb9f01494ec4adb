// SPDX-License-Identifier: Apache-2.0
//! The file table of a ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "sim/sim_file.hpp"

namespace sluice::sim {

//! Slots for files that requests name by IOSQE_FIXED_FILE.
class registered_files {
public:
    [[nodiscard]] bool made() const noexcept { return !slots_.empty(); }
    void make(std::vector<std::shared_ptr<sim_file>> slots);
    void drop() { slots_.clear(); }

    //! Where IORING_FILE_INDEX_ALLOC may put files. EINVAL, EOVERFLOW.
    int set_alloc_range(std::uint32_t first, std::uint32_t count);

    //! Null for an empty slot and for one that does not exist.
    [[nodiscard]] std::shared_ptr<sim_file> find(std::uint32_t slot) const noexcept;

    //! Into a free slot: its number, or ENFILE. The search goes on where the last one ended.
    int install(std::shared_ptr<sim_file> file);
    //! Into this slot: 0. EINVAL, ENXIO. What was there is closed.
    int install_at(std::uint32_t slot, std::shared_ptr<sim_file> file);
    //! EINVAL for a slot that does not exist, EBADF for an empty one, ENXIO without a table.
    int close(std::uint32_t slot);

    [[nodiscard]] std::size_t used() const noexcept;

private:
    std::vector<std::shared_ptr<sim_file>> slots_;
    std::size_t alloc_first_ = 0;
    std::size_t alloc_end_ = 0;
    std::size_t hint_ = 0;
};

}  // namespace sluice::sim
