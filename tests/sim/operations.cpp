// SPDX-License-Identifier: Apache-2.0
#include "sim/operations.hpp"

#include "runtime/uring.hpp"

namespace sluice::sim {

namespace {

struct named_operation {
    std::uint8_t opcode;
    const char* name;
    const operation_kind* kind;
};

constexpr named_operation known[] = {
    {IORING_OP_NOP, "NOP", &nop_operation},
    {IORING_OP_READ, "READ", &read_operation},
    {IORING_OP_POLL_ADD, "POLL_ADD", &poll_operation},
    {IORING_OP_SOCKET, "SOCKET", &socket_operation},
    {IORING_OP_ACCEPT, "ACCEPT", &accept_operation},
    {IORING_OP_CONNECT, "CONNECT", &connect_operation},
    {IORING_OP_RECV, "RECV", &receive_operation},
    {IORING_OP_RECV_ZC, "RECV_ZC", &receive_zc_operation},
    {IORING_OP_SEND, "SEND", &send_operation},
    {IORING_OP_SENDMSG, "SENDMSG", &sendmsg_operation},
    {IORING_OP_SEND_ZC, "SEND_ZC", &send_zc_operation},
    {IORING_OP_SENDMSG_ZC, "SENDMSG_ZC", &sendmsg_zc_operation},
    {IORING_OP_SHUTDOWN, "SHUTDOWN", &shutdown_operation},
    {IORING_OP_CLOSE, "CLOSE", &close_operation},
    {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL", &cancel_operation},
    {IORING_OP_TIMEOUT, "TIMEOUT", &timeout_operation},
    {IORING_OP_TIMEOUT_REMOVE, "TIMEOUT_REMOVE", &timeout_remove_operation},
};

const named_operation* find_known(std::uint8_t opcode) noexcept {
    for (const named_operation& o : known)
        if (o.opcode == opcode) return &o;
    return nullptr;
}

}  // namespace

const operation_kind* find_operation(std::uint8_t opcode) noexcept {
    const named_operation* found = find_known(opcode);
    return found == nullptr ? nullptr : found->kind;
}

const char* operation_name(std::uint8_t opcode) noexcept {
    const named_operation* found = find_known(opcode);
    return found == nullptr ? "unknown operation" : found->name;
}

}  // namespace sluice::sim
