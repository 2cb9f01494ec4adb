// SPDX-License-Identifier: Apache-2.0
//! How much stack code uses.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace sluice::testing {

//! Where the calling thread's stack is. Not the address of a local variable: AddressSanitizer may
//! keep those elsewhere.
[[gnu::noinline]] inline std::uintptr_t stack_position() noexcept {
    return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

//! The distance between the highest and the lowest place seen.
class stack_range {
public:
    void look() noexcept {
        const std::uintptr_t here = stack_position();
        lowest_ = std::min(lowest_, here);
        highest_ = std::max(highest_, here);
    }
    [[nodiscard]] std::size_t bytes() const noexcept {
        return highest_ < lowest_ ? 0 : highest_ - lowest_;
    }

private:
    std::uintptr_t lowest_ = UINTPTR_MAX;
    std::uintptr_t highest_ = 0;
};

//! Runs `fn` on a thread with a stack of that many bytes and waits for it. Throws what escapes.
void on_small_stack(std::size_t bytes, const std::function<void()>& fn);

}  // namespace sluice::testing
