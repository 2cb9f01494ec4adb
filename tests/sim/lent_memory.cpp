// SPDX-License-Identifier: Apache-2.0
#include "sim/lent_memory.hpp"

#include <cstring>

#include "sim/request.hpp"
#include "sim/sim_ring.hpp"

namespace sluice::sim {

lent_memory::lent_memory(sim_ring& ring, const request& r)
    : ring_(ring.weak_from_this()), request_(r.id), pieces_(r.pieces) {
    for (const iovec& piece : pieces_) {
        const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
        before_.insert(before_.end(), bytes, bytes + piece.iov_len);
    }
}

// Without its ring the program may be gone, and the memory with it.
lent_memory::~lent_memory() {
    if (const auto ring = ring_.lock()) ring->memory_free(request_, unchanged());
}

bool lent_memory::unchanged() const noexcept {
    std::size_t at = 0;
    for (const iovec& piece : pieces_) {
        if (piece.iov_len == 0) continue;
        if (std::memcmp(piece.iov_base, before_.data() + at, piece.iov_len) != 0) return false;
        at += piece.iov_len;
    }
    return true;
}

}  // namespace sluice::sim
