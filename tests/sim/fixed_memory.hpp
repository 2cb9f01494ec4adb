// SPDX-License-Identifier: Apache-2.0
//! The fixed buffers of a simulated ring.
#pragma once

#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice::sim {

//! Results are those of io_uring_register(2).
class fixed_memory {
public:
    int make(std::uint32_t slots) {
        if (made_) return -EBUSY;
        if (slots == 0 || slots > most_slots) return -EINVAL;
        slots_.assign(slots, {});
        made_ = true;
        return 0;
    }
    int drop() {
        if (!made_) return -ENXIO;
        slots_.clear();
        made_ = false;
        return 0;
    }
    //! A null pointer clears the slot. `lockable`: how much may be registered at once.
    int update(std::uint32_t index, const iovec& memory, std::size_t lockable) {
        if (!made_) return -ENXIO;
        if (index >= slots_.size()) return -EINVAL;
        if (memory.iov_base == nullptr && memory.iov_len != 0) return -EFAULT;
        if (memory.iov_len > most_bytes) return -EFAULT;
        slots_[index] = {};
        if (locked() + memory.iov_len > lockable) return -ENOMEM;
        slots_[index] = memory;
        return 1;
    }
    [[nodiscard]] bool contains(std::uint32_t index, const iovec& piece) const noexcept {
        if (index >= slots_.size()) return false;
        const auto begin = reinterpret_cast<std::uintptr_t>(slots_[index].iov_base);
        const auto at = reinterpret_cast<std::uintptr_t>(piece.iov_base);
        return at >= begin && at - begin <= slots_[index].iov_len &&
               piece.iov_len <= slots_[index].iov_len - (at - begin);
    }

private:
    static constexpr std::uint32_t most_slots = 1U << 14;
    static constexpr std::size_t most_bytes = std::size_t{1} << 30;
    [[nodiscard]] std::size_t locked() const noexcept {
        std::size_t bytes = 0;
        for (const iovec& s : slots_) bytes += s.iov_len;
        return bytes;
    }

    bool made_ = false;
    std::vector<iovec> slots_;
};

}  // namespace sluice::sim
