// SPDX-License-Identifier: Apache-2.0
//! What a zero-copy send borrows from the program.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sluice::sim {

class sim_ring;
struct request;

//! The memory of one request. Whoever refers to this may still read it: the request until it has
//! ended, each segment of the bytes until it has arrived or is thrown away. When nobody does any
//! more, the ring is told, and whether the program has left the memory alone until then.
class lent_memory {
public:
    //! Of a request that is being prepared.
    lent_memory(sim_ring& ring, const request& r);
    ~lent_memory();
    lent_memory(const lent_memory&) = delete;
    lent_memory& operator=(const lent_memory&) = delete;

private:
    [[nodiscard]] bool unchanged() const noexcept;

    std::weak_ptr<sim_ring> ring_;
    std::uint64_t request_;
    std::vector<iovec> pieces_;
    std::vector<std::byte> before_;
};

}  // namespace sluice::sim
