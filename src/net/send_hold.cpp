// SPDX-License-Identifier: Apache-2.0
#include "net/send_hold.hpp"

#include <memory>
#include <new>

#include "net/connection.hpp"
#include "net/net_context.hpp"
#include "runtime/registered_buffers.hpp"

namespace sluice::detail {

send_hold* send_hold::create(connection& owner, std::size_t pieces) noexcept {
    try {
        void* memory =
            frame_pool::allocate(sizeof(send_hold) + pieces * (sizeof(iovec) + sizeof(rx_buffer)));
        return new (memory) send_hold(owner, pieces);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

send_hold::send_hold(connection& owner, std::size_t pieces) noexcept
    : operation(prepare, complete),
      owner_(owner),
      alone_(owner.held_sends() == 0),
      vector_(reinterpret_cast<iovec*>(this + 1)),
      buffers_(reinterpret_cast<rx_buffer*>(vector_ + pieces)) {
    std::uninitialized_default_construct_n(buffers_, pieces);
}

// Buffers that were not used own nothing.
send_hold::~send_hold() { std::destroy_n(buffers_, count_); }

void send_hold::add(const rx_buffer& buffer, std::size_t offset, std::size_t size) noexcept {
    rx_buffer part = buffer.slice(offset, size);
    vector_[count_] = {const_cast<std::byte*>(part.data()), size};
    buffers_[count_++] = std::move(part);
    bytes_ += size;
}

void send_hold::add(send_call& lender, std::span<const std::byte> bytes) noexcept {
    lender_ = &lender;
    ++lender.unreleased_;
    vector_[count_++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
    bytes_ += bytes.size();
}

void send_hold::prepare(operation& op, io_uring_sqe& sqe) noexcept {
    auto& self = static_cast<send_hold&>(op);
    net_context& net = self.owner_.net();
    constexpr int flags = MSG_NOSIGNAL | MSG_WAITALL;
    unsigned how = IORING_SEND_ZC_REPORT_USAGE;
    if (self.fixed_index_ != registered_buffers::none) how |= IORING_RECVSEND_FIXED_BUF;
    if (self.count_ == 1) {
        io_uring_prep_send_zc(&sqe, self.owner_.descriptor(), self.vector_->iov_base,
                              self.vector_->iov_len, flags, how);
    } else {
        self.header_.msg_iov = self.vector_;
        self.header_.msg_iovlen = self.count_;
        io_uring_prep_sendmsg_zc(&sqe, self.owner_.descriptor(), &self.header_,
                                 static_cast<unsigned>(flags));
        sqe.ioprio |= static_cast<std::uint16_t>(how);
    }
    if (self.fixed_index_ != registered_buffers::none)
        sqe.buf_index = static_cast<std::uint16_t>(self.fixed_index_);
    sqe.flags |= net.descriptor_flags();
    ++net.stats().sends;
    ++net.stats().zero_copy_sends;
}

// The notification may be missing, when the request has not come far enough, and is then the last
// CQE's part.
void send_hold::complete(operation& op, std::int32_t result, std::uint32_t flags) noexcept {
    auto& self = static_cast<send_hold&>(op);
    if ((flags & IORING_CQE_F_NOTIF) == 0)
        self.accepted(result);
    else if (self.sent_some_ && !self.owner_.resetting())
        self.used((static_cast<std::uint32_t>(result) & IORING_NOTIF_USAGE_ZC_COPIED) == 0);
    if ((flags & IORING_CQE_F_MORE) == 0) self.released();
}

void send_hold::accepted(std::int32_t result) noexcept {
    sent_some_ = result > 0;
    owner_.sending().accepted(result);
    // Its coroutine has been told to go on meanwhile, and waits for the memory.
    if (sent_some_ && lender_ != nullptr && lender_->failed_) owner_.reset();
}

void send_hold::used(bool without_copy) noexcept {
    if (without_copy) {
        owner_.net().held().paid();
    } else {
        ++owner_.net().stats().zero_copy_copied;
        if (alone_) owner_.sending().kernel_copies();
    }
}

void send_hold::released() noexcept {
    if (lender_ != nullptr && --lender_->unreleased_ == 0 && lender_->settled()) lender_->wake();
    connection& owner = owner_;
    owner.remove(*this);
    this->~send_hold();
    frame_pool::deallocate(this);
    owner.let_go();
}

}  // namespace sluice::detail
