// SPDX-License-Identifier: Apache-2.0
//! Memory that the simulated kernel shares with the program.
#pragma once

#include <cstddef>

namespace sluice::sim {

//! Real pages, zeroed: what is used after it was unmapped is a fault and not a guess.
class mapped_pages {
public:
    mapped_pages() = default;
    explicit mapped_pages(std::size_t bytes);
    ~mapped_pages();
    mapped_pages(mapped_pages&& other) noexcept;
    mapped_pages& operator=(mapped_pages&& other) noexcept;

    //! Whoever touches the first `bytes` from now on meets a fault.
    void forbid(std::size_t bytes) noexcept;

    //! Null when there was no memory.
    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    template <class T>
    [[nodiscard]] T* at(std::size_t offset) const noexcept {
        return reinterpret_cast<T*>(data_ + offset);
    }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

std::size_t round_up_to_pages(std::size_t bytes) noexcept;

}  // namespace sluice::sim
