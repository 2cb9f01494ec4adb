// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/pages.hpp"

#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace sluice::detail {

namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t small_page = 4096;

std::size_t round_up(std::size_t bytes, std::size_t to) noexcept {
    return (bytes + to - 1) / to * to;
}

void* map_anonymous(std::size_t bytes, int more_flags) noexcept {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | more_flags, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
}

// Memory whose address is a multiple of `alignment`: what is too much at both ends is given back.
void* map_aligned(std::size_t bytes, std::size_t alignment) noexcept {
    auto* all = static_cast<std::byte*>(map_anonymous(bytes + alignment, 0));
    if (all == nullptr) return nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(all);
    const std::size_t before = round_up(address, alignment) - address;
    if (before != 0) ::munmap(all, before);
    if (alignment != before) ::munmap(all + before + bytes, alignment - before);
    return all + before;
}

bool bind_to_node(void* p, std::size_t bytes, int node) noexcept {
    std::array<unsigned long, 16> nodes{};
    constexpr std::size_t bits = 8 * sizeof(unsigned long);
    const auto n = static_cast<std::size_t>(node);
    if (n >= nodes.size() * bits) return false;
    nodes[n / bits] = 1UL << (n % bits);
    return ::syscall(__NR_mbind, p, bytes, MPOL_BIND, nodes.data(), nodes.size() * bits, 0) == 0;
}

bool has_capability(unsigned number) noexcept {
    __user_cap_header_struct header{};
    header.version = _LINUX_CAPABILITY_VERSION_3;
    std::array<__user_cap_data_struct, 2> data{};
    if (::syscall(__NR_capget, &header, data.data()) != 0) return false;
    return (data[number / 32].effective & (1U << (number % 32))) != 0;
}

}  // namespace

result<mapped_pages> mapped_pages::map(std::size_t bytes, page_kind best, int numa_node) {
    mapped_pages made;
    int error = 0;
    for (const page_kind kind : {page_kind::huge, page_kind::transparent, page_kind::small}) {
        if (kind < best) continue;
        if (made.place(bytes, kind, numa_node, error)) return made;
    }
    return errno_error(error);
}

result<mapped_pages> mapped_pages::of_dma_buf(int fd) {
    const off_t size = ::lseek(fd, 0, SEEK_END);
    if (size < 0) return errno_error(errno);
    const auto bytes = static_cast<std::size_t>(size);
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return errno_error(errno);
    ::madvise(p, bytes, MADV_DONTFORK);
    mapped_pages made;
    made.data_ = static_cast<std::byte*>(p);
    made.size_ = bytes;
    return made;
}

bool mapped_pages::place(std::size_t bytes, page_kind kind, int numa_node, int& error) {
    const bool small = kind == page_kind::small;
    const std::size_t size = round_up(bytes, small ? small_page : huge_page);
    void* p = nullptr;
    if (kind == page_kind::huge)
        p = map_anonymous(size, MAP_HUGETLB);
    else
        p = map_aligned(size, small ? small_page : huge_page);
    error = p == nullptr ? errno : 0;
    if (p == nullptr) return false;
    ::madvise(p, size, MADV_DONTFORK);
    const bool on_node = numa_node < 0 || bind_to_node(p, size, numa_node);
    const bool advised = kind != page_kind::transparent || ::madvise(p, size, MADV_HUGEPAGE) == 0;
    if (!advised || ::madvise(p, size, MADV_POPULATE_WRITE) != 0) {
        error = errno;
        ::munmap(p, size);
        return false;
    }
    data_ = static_cast<std::byte*>(p);
    size_ = size;
    kind_ = kind;
    on_node_ = on_node;
    return true;
}

mapped_pages::mapped_pages(mapped_pages&& o) noexcept
    : data_(std::exchange(o.data_, nullptr)),
      size_(o.size_),
      kind_(o.kind_),
      on_node_(o.on_node_) {}

mapped_pages::~mapped_pages() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

std::uint64_t lockable_bytes() {
    rlimit limit{};
    if (has_capability(CAP_IPC_LOCK) || ::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 ||
        limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

bool has_net_admin() { return has_capability(CAP_NET_ADMIN); }

}  // namespace sluice::detail
