// SPDX-License-Identifier: Apache-2.0
#include "zcrx/area.hpp"

#include <new>
#include <span>
#include <utility>

namespace sluice::detail {

result<std::unique_ptr<area>> area::map(std::size_t bytes, std::uint32_t chunk_bytes,
                                        const zcrx_options& options, buffer_source& source) {
    auto memory = options.dma_buf >= 0 ? mapped_pages::of_dma_buf(options.dma_buf)
                                       : mapped_pages::map(bytes, options.pages, options.numa_node);
    if (!memory) return memory.error();
    try {
        return std::unique_ptr<area>(new area(std::move(*memory), chunk_bytes, source));
    } catch (const std::bad_alloc&) {
        return errno_error(ENOMEM);
    }
}

area::area(mapped_pages pages, std::uint32_t chunk_bytes, buffer_source& source)
    : memory_(std::move(pages)),
      region_(std::make_shared<fixed_region>(std::span(memory_.data(), memory_.size()))),
      chunk_bytes_(chunk_bytes),
      count_(static_cast<std::uint32_t>(memory_.size() / chunk_bytes)),
      chunks_(std::make_unique<chunk[]>(count_)) {
    for (std::uint32_t i = 0; i < count_; ++i) chunks_[i].source = &source;
}

// Chunks that never went back, because the queue ended before, are charged to the end.
area::~area() {
    for (std::uint32_t i = 0; i < count_; ++i)
        if (lease_account* account = chunks_[i].account.load(std::memory_order_relaxed);
            account != nullptr)
            account->release();
    region_->retire();
}

void area::name(std::uint64_t token) noexcept {
    for (std::uint32_t i = 0; i < count_; ++i)
        chunks_[i].offset = token + std::uint64_t{i} * chunk_bytes_;
}

bool area::lends(const void* data, const void* block) const noexcept {
    const auto distance =
        reinterpret_cast<std::uintptr_t>(block) - reinterpret_cast<std::uintptr_t>(chunks_.get());
    const std::size_t index = distance / sizeof(chunk);
    if (distance % sizeof(chunk) != 0 || index >= count_ || chunks_[index].handles <= 0)
        return false;
    const auto start = reinterpret_cast<std::uintptr_t>(memory_.data()) + index * chunk_bytes_;
    return reinterpret_cast<std::uintptr_t>(data) - start < chunk_bytes_;
}

}  // namespace sluice::detail
