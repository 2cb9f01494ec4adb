// SPDX-License-Identifier: Apache-2.0
//! The stacks of a reactor's fibers.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "runtime/kernel/stack_overflow.hpp"
#include "sluice/fiber_core.hpp"
#include "sluice/reactor.hpp"
#include "sluice/reactor_local.hpp"

namespace sluice::detail {

//! Stacks with guard pages below, kept for the next fiber when one ends.
class fiber_stacks final : public reactor_local {
public:
    explicit fiber_stacks(reactor& home);
    ~fiber_stacks() override;

    //! Guard pages: enough that a frame of ordinary size does not step over them.
    static constexpr std::size_t guard_bytes = 64 * 1024;

    //! Sets `stack` to one of at least `size` bytes. Errors: EAGAIN at the limit, ENOMEM.
    boost::system::error_code take(std::size_t size, fiber_stack& stack);
    void give_back(const fiber_stack& stack) noexcept;
    void note_used(std::size_t bytes) noexcept;
    [[nodiscard]] const fiber_stats& stats() const noexcept { return stats_; }

private:
    void unmap(const fiber_stack& stack) noexcept;

    reactor& home_;
    std::size_t limit_;
    std::vector<fiber_stack> free_;  // the one that was used last at the end
    fiber_stats stats_;
    std::optional<overflow_watch> watch_;
};

}  // namespace sluice::detail
