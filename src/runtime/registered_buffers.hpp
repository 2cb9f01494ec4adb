// SPDX-License-Identifier: Apache-2.0
//! The fixed buffers of a ring: memory whose pages are pinned once and not for every request.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/ring.hpp"
#include "sluice/buffer.hpp"

namespace sluice::detail {

//! The ring's table of them (io_uring_register(2), IORING_REGISTER_BUFFERS2), made at the first
//! region. It pins all pages of a region, touched or not, and they count as locked memory. What is
//! registered stays until the ring goes or its source has gone.
class registered_buffers {
public:
    static constexpr int none = -1;

    explicit registered_buffers(ring& r) noexcept : ring_(r) {}

    //! At most so many regions; 0: none.
    void set_limit(std::uint32_t regions) noexcept { limit_ = regions; }

    //! The index of the region, which is registered at the first call; `none`: it has none, or the
    //! kernel refuses it, which is logged once, or the limit is reached.
    int index_of(const std::shared_ptr<fixed_region>& region) noexcept;

    //! Before its source goes, if the memory is not to wait for that. What is being sent from it
    //! stays pinned until then.
    void remove(const fixed_region& region) noexcept;

    [[nodiscard]] std::size_t count() const noexcept;
    //! Regions that could not be registered.
    [[nodiscard]] std::uint64_t refused() const noexcept { return refusals_; }

private:
    using shared = std::shared_ptr<fixed_region>;

    int add(const shared& region);
    [[nodiscard]] int make_table() noexcept;
    int update(std::size_t index, std::span<std::byte> memory) noexcept;
    void forget_gone() noexcept;
    void refuse(const shared& region, int error);

    ring& ring_;
    std::uint32_t limit_ = 0;
    bool made_ = false;
    bool logged_ = false;
    std::vector<shared> slots_;    // by index; null: free
    std::vector<shared> refused_;  // not asked for again
    std::uint64_t refusals_ = 0;
};

}  // namespace sluice::detail
