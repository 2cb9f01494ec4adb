// SPDX-License-Identifier: Apache-2.0
#include "sim/memory_map.hpp"

#include <sys/mman.h>

#include <utility>

namespace sluice::sim {

std::size_t round_up_to_pages(std::size_t bytes) noexcept {
    constexpr std::size_t page = 4096;
    return (bytes + page - 1) / page * page;
}

mapped_pages::mapped_pages(std::size_t bytes) : size_(round_up_to_pages(bytes)) {
    void* p = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        size_ = 0;
    else
        data_ = static_cast<std::byte*>(p);
}

mapped_pages::~mapped_pages() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

void mapped_pages::forbid(std::size_t bytes) noexcept { ::mprotect(data_, bytes, PROT_NONE); }

mapped_pages::mapped_pages(mapped_pages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

mapped_pages& mapped_pages::operator=(mapped_pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

}  // namespace sluice::sim
