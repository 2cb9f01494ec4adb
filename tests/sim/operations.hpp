// SPDX-License-Identifier: Apache-2.0
//! What the opcodes do.
#pragma once

#include <cstdint>

#include "sim/request.hpp"

namespace sluice::sim {

//! One opcode.
struct operation_kind {
    //! Checks the SQE and copies what need not outlive the submission: 0 or a negative errno.
    int (*prepare)(sim_ring&, request&);
    //! Does what can be done without waiting.
    outcome (*attempt)(sim_ring&, request&);
    //! Whether sqe->fd names a file that has to be there.
    bool needs_file;
    //! What it waits for.
    interest direction = interest::input;
};

//! Null for an opcode that the simulated kernel does not know.
const operation_kind* find_operation(std::uint8_t opcode) noexcept;

//! For messages.
const char* operation_name(std::uint8_t opcode) noexcept;

// By subject: streams, connections, the rest.
extern const operation_kind receive_operation;
extern const operation_kind receive_zc_operation;
extern const operation_kind send_operation;
extern const operation_kind sendmsg_operation;
extern const operation_kind send_zc_operation;
extern const operation_kind sendmsg_zc_operation;
extern const operation_kind socket_operation;
extern const operation_kind accept_operation;
extern const operation_kind connect_operation;
extern const operation_kind shutdown_operation;
extern const operation_kind close_operation;
extern const operation_kind nop_operation;
extern const operation_kind read_operation;
extern const operation_kind poll_operation;
extern const operation_kind cancel_operation;
extern const operation_kind timeout_operation;
extern const operation_kind timeout_remove_operation;

}  // namespace sluice::sim
