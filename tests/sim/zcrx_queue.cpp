// SPDX-License-Identifier: Apache-2.0
#include "sim/zcrx_queue.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::sim {

namespace {

constexpr int poison = 0xdb;
constexpr std::size_t most_areas = 1024;
constexpr std::uint32_t tail_offset = 64;  // a cache line of its own, since 7.3
constexpr std::uint32_t header_bytes = 128;

constexpr std::uint64_t area_of(std::uint64_t offset) noexcept {
    return offset >> IORING_ZCRX_AREA_SHIFT;
}
constexpr std::uint64_t chunk_of(std::uint64_t offset) noexcept {
    return (offset & ~IORING_ZCRX_AREA_MASK) / zcrx_queue::chunk_bytes;
}

}  // namespace

io_uring_zcrx_offsets zcrx_queue::offsets() noexcept {
    io_uring_zcrx_offsets o{};
    o.tail = tail_offset;
    o.rqes = header_bytes;
    return o;
}

zcrx_queue::zcrx_queue(world& w, terms t)
    : world_(w),
      region_(static_cast<std::byte*>(t.region)),
      entries_(t.entries),
      events_(t.events),
      tell_(std::move(t.tell)) {
    std::memset(region_, 0, header_bytes);
    if ((events_.flags & ZCRX_EVENT_DESC_FLAG_STATS) != 0)
        std::memset(region_ + events_.stats_offset, 0, sizeof(::zcrx_stats));
}

std::int64_t zcrx_queue::add(const io_uring_zcrx_area_reg& registration) {
    if (registration.flags != 0) return -EINVAL;  // IORING_ZCRX_AREA_DMABUF needs a device
    if (registration.rq_area_token != 0 || registration.dmabuf_fd != 0) return -EINVAL;
    if (registration.__resv2[0] != 0 || registration.__resv2[1] != 0) return -EINVAL;
    if (registration.addr == 0 || registration.len == 0) return -EFAULT;
    if (registration.addr % chunk_bytes != 0 || registration.len % chunk_bytes != 0) return -EINVAL;
    if (registration.len > world_.options.lockable) return -ENOMEM;
    if (areas_.size() == most_areas) return -EINVAL;
    const auto count = static_cast<std::uint32_t>(registration.len / chunk_bytes);
    area made{reinterpret_cast<std::byte*>(registration.addr), std::vector<chunk>(count), {}};
    for (std::uint32_t i = 0; i < count; ++i) made.free.push_back(i);
    areas_.push_back(std::move(made));
    return static_cast<std::int64_t>((areas_.size() - 1) << IORING_ZCRX_AREA_SHIFT);
}

std::size_t zcrx_queue::free_chunks() const noexcept {
    std::size_t count = 0;
    for (const area& a : areas_) count += a.free.size();
    return count;
}

bool zcrx_queue::has_chunk() const noexcept { return region_ != nullptr && free_chunks() != 0; }

// As in Linux, the chunk that came back last is the next to go.
zcrx_queue::taken zcrx_queue::take() {
    std::uint64_t number = 0;
    while (areas_[number].free.empty()) ++number;
    area& from = areas_[number];
    const std::uint32_t index = from.free.back();
    from.free.pop_back();
    from.chunks[index].references = 1;
    ++lent_;
    return {from.memory + index * chunk_bytes,
            number << IORING_ZCRX_AREA_SHIFT | std::uint64_t{index} * chunk_bytes};
}

std::uint32_t* zcrx_queue::word(std::size_t offset) const noexcept {
    return reinterpret_cast<std::uint32_t*>(region_ + offset);
}

const io_uring_zcrx_rqe& zcrx_queue::entry(std::uint32_t index) const noexcept {
    return reinterpret_cast<const io_uring_zcrx_rqe*>(region_ +
                                                      header_bytes)[index & (entries_ - 1)];
}

zcrx_queue::chunk* zcrx_queue::find(const io_uring_zcrx_rqe& e) {
    const std::uint64_t number = area_of(e.off);
    const std::uint64_t index = chunk_of(e.off);
    if (e.__pad != 0 || number >= areas_.size()) return nullptr;
    return index < areas_[number].chunks.size() ? &areas_[number].chunks[index] : nullptr;
}

void zcrx_queue::audit() {
    if (region_ == nullptr) return;
    const std::uint32_t tail = __atomic_load_n(word(tail_offset), __ATOMIC_ACQUIRE);
    if (tail - head_ > entries_) {
        world_.fail("the tail of a refill queue is further from its head than it is long");
        return;
    }
    while (seen_ != tail) look_at(entry(seen_++));
}

void zcrx_queue::look_at(const io_uring_zcrx_rqe& e) {
    const std::string name = "chunk " + std::to_string(chunk_of(e.off)) + " of area " +
                             std::to_string(area_of(e.off)) + ": ";
    chunk* c = find(e);
    if (c == nullptr) {
        world_.fail(name + "given back, and there is no such chunk");
        return;
    }
    if (c->returning == c->references) {
        world_.fail(name + "given back, but the program has no reference to it");
        return;
    }
    if (++c->returning != c->references) return;
    --lent_;
    if (world_.options.poison_returned_buffers)
        std::memset(areas_[area_of(e.off)].memory + chunk_of(e.off) * chunk_bytes, poison,
                    chunk_bytes);
}

void zcrx_queue::flush() {
    audit();
    if (region_ == nullptr) return;
    for (; head_ != seen_; ++head_) {
        const io_uring_zcrx_rqe& e = entry(head_);
        chunk* c = find(e);
        if (c == nullptr || c->returning == 0) continue;  // a failure already
        --c->returning;
        if (--c->references == 0)
            areas_[area_of(e.off)].free.push_back(static_cast<std::uint32_t>(chunk_of(e.off)));
    }
    __atomic_store_n(word(0), head_, __ATOMIC_RELEASE);
}

void zcrx_queue::copied(std::size_t bytes) {
    if ((events_.flags & ZCRX_EVENT_DESC_FLAG_STATS) != 0) {
        auto* statistics = reinterpret_cast<::zcrx_stats*>(region_ + events_.stats_offset);
        ++statistics->copy_count;
        statistics->copy_bytes += bytes;
    }
    constexpr std::uint32_t type = 1U << ZCRX_EVENT_COPY;
    if ((events_.type_mask & type) == 0 || (fired_ & type) != 0) return;
    fired_ |= type;
    tell_(events_.user_data, ZCRX_EVENT_COPY);
}

int zcrx_queue::arm(std::uint32_t event_type) {
    if (event_type >= __ZCRX_EVENT_TYPE_LAST || (fired_ & 1U << event_type) == 0) return -EINVAL;
    fired_ &= ~(1U << event_type);
    return 0;
}

void zcrx_queue::unmapped(const void* region) noexcept {
    if (region == region_) region_ = nullptr;
}

}  // namespace sluice::sim
