// SPDX-License-Identifier: Apache-2.0
//! Large pieces of memory that devices write to: huge pages, NUMA nodes, the limit of locked
//! memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sluice/result.hpp"
#include "sluice/zcrx_options.hpp"

namespace sluice::detail {

//! Private zeroed memory, kept out of forked children. Aligned to 2 MiB unless its pages are small.
class mapped_pages {
public:
    //! The best kind of pages from `best` on that there are: mmap(2), madvise(2), mbind(2). A node
    //! below 0: wherever the calling thread runs. Every page is there when this returns.
    static result<mapped_pages> map(std::size_t bytes, page_kind best, int numa_node);

    //! All of a dma-buf, which is shared with whoever has it. Its pages count as small.
    static result<mapped_pages> of_dma_buf(int fd);

    mapped_pages() = default;
    mapped_pages(mapped_pages&& o) noexcept;
    mapped_pages& operator=(mapped_pages&&) = delete;
    ~mapped_pages();

    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] page_kind kind() const noexcept { return kind_; }
    //! Whether the NUMA node that was asked for could be had.
    [[nodiscard]] bool on_node() const noexcept { return on_node_; }

private:
    bool place(std::size_t bytes, page_kind kind, int numa_node, int& error);

    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    page_kind kind_ = page_kind::small;
    bool on_node_ = true;
};

//! What this process may lock, in bytes; UINT64_MAX: no limit, or CAP_IPC_LOCK. (getrlimit(2))
std::uint64_t lockable_bytes();

//! Whether the process has CAP_NET_ADMIN. (capabilities(7))
bool has_net_admin();

}  // namespace sluice::detail
