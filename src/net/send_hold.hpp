// SPDX-License-Identifier: Apache-2.0
//! A zero-copy send, which has two ends.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/operation.hpp"
#include "sluice/buffer.hpp"

namespace sluice::detail {

class connection;
class send_call;
class send_queue;

//! One SEND_ZC or SENDMSG_ZC (io_uring_enter(2)). With the first CQE the kernel has accepted the
//! bytes, and the sends of the connection go on. The second is a notification: it has released the
//! memory, because the peer has acknowledged the bytes or the connection has been reset. It may
//! take long and can't be asked for. Until then this object owns the buffers, whatever becomes of
//! the coroutine that sent them; the connection, which is kept by it, and the reactor count it.
class send_hold final : public operation {
public:
    //! Room for so many pieces. Null: no memory.
    static send_hold* create(connection& owner, std::size_t pieces) noexcept;

    //! Part of a buffer, which is shared.
    void add(const rx_buffer& buffer, std::size_t offset, std::size_t size) noexcept;
    //! Bytes of a call that completes only when they are released. The only piece then.
    void add(send_call& lender, std::span<const std::byte> bytes) noexcept;
    //! All pieces lie in the memory that is registered with this index.
    void use_fixed(int index) noexcept { fixed_index_ = index; }

    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] send_call* lender() const noexcept { return lender_; }

    // Linked into the list of its connection.
    send_hold* previous = nullptr;
    send_hold* next = nullptr;

private:
    send_hold(connection& owner, std::size_t pieces) noexcept;
    ~send_hold();
    static void prepare(operation& op, io_uring_sqe& sqe) noexcept;
    static void complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    void accepted(std::int32_t result) noexcept;
    // What the kernel reports. Of a send all of whose bytes joined a packet of an earlier one it
    // says that they were copied, whatever was done (io_uring/notif.c, io_link_skb): believed is
    // only a send that was alone.
    void used(bool without_copy) noexcept;
    void released() noexcept;

    connection& owner_;
    send_call* lender_ = nullptr;
    std::size_t bytes_ = 0;
    std::size_t count_ = 0;
    int fixed_index_ = -1;
    bool sent_some_ = false;
    const bool alone_;  // nothing that was sent before is held
    msghdr header_{};
    iovec* vector_;       // behind this object
    rx_buffer* buffers_;  // behind that
};

}  // namespace sluice::detail
