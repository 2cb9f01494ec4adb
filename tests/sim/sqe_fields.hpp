// SPDX-License-Identifier: Apache-2.0
//! A submission queue entry, copied.
#pragma once

#include <cstdint>

#include "runtime/uring.hpp"

namespace sluice::sim {

//! The fields of an io_uring_sqe by their place in it; unions have the name that is used most.
struct sqe_fields {
    std::uint8_t opcode;
    std::uint8_t flags;
    std::uint16_t ioprio;
    std::int32_t fd;
    std::uint64_t addr2;  //!< or off
    std::uint64_t addr;
    std::uint32_t len;
    std::uint32_t op_flags;  //!< msg_flags, accept_flags, cancel_flags, ...
    std::uint64_t user_data;
    std::uint16_t buf_group;   //!< or buf_index
    std::uint32_t file_index;  //!< or optlen

    explicit sqe_fields(const io_uring_sqe& from) noexcept
        : opcode(from.opcode),
          flags(from.flags),
          ioprio(from.ioprio),
          fd(from.fd),
          addr2(from.addr2),
          addr(from.addr),
          len(from.len),
          op_flags(from.rw_flags),
          user_data(from.user_data),
          buf_group(from.buf_group),
          file_index(from.file_index) {}
};

}  // namespace sluice::sim
