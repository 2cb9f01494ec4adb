// SPDX-License-Identifier: Apache-2.0
//! A ring driven by hand, for tests of the simulated kernel below the reactor.
#pragma once

#include <doctest/doctest.h>
#include <netinet/in.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "runtime/ring.hpp"
#include "sim/sim_kernel.hpp"

namespace sluice::sim {

//! A CQE as a test sees it.
struct completion {
    std::uint64_t user_data;
    std::int32_t result;
    std::uint32_t flags;
    std::uint64_t second_half = 0;  // of a big CQE, the first word

    [[nodiscard]] bool more() const noexcept { return (flags & IORING_CQE_F_MORE) != 0; }
    [[nodiscard]] bool has_buffer() const noexcept { return (flags & IORING_CQE_F_BUFFER) != 0; }
    [[nodiscard]] bool buffer_goes_on() const noexcept {
        return (flags & IORING_CQE_F_BUF_MORE) != 0;
    }
    [[nodiscard]] unsigned buffer() const noexcept { return flags >> IORING_CQE_BUFFER_SHIFT; }
};

//! The production ring on any kernel, with what a test needs around it.
class raw_ring {
public:
    explicit raw_ring(detail::kernel& k, unsigned sq_entries = 64, unsigned cq_entries = 256,
                      bool with_zero_copy = false)
        : ring_(k) {
        reactor_options options;
        options.zcrx.device_less = with_zero_copy;
        options.sq_entries = sq_entries;
        options.cq_entries = cq_entries;
        REQUIRE(ring_.open(options, found_));
    }

    [[nodiscard]] detail::ring& rings() noexcept { return ring_; }
    [[nodiscard]] const features& found() const noexcept { return found_; }

    //! A zeroed SQE; `user_data` is set when it is submitted, whatever the preparation does to it.
    io_uring_sqe& next(std::uint64_t user_data) {
        io_uring_sqe* sqe = ring_.next_sqe();
        REQUIRE(sqe != nullptr);
        unsubmitted_.push_back({sqe, user_data});
        return *sqe;
    }

    //! Submits and waits for so many CQEs, for no longer than `milliseconds`; gives all there are.
    std::vector<completion> enter(unsigned wait = 1, std::int64_t milliseconds = 50) {
        call(wait, milliseconds);
        return reap();
    }
    //! Submits and leaves the CQEs where they are. Gives what io_uring_enter returned.
    int submit() { return call(0, 0); }
    //! The next CQE of this request, waited for; the others stay for later.
    completion take(std::uint64_t user_data) {
        for (int i = 0; i < tries; ++i) {
            for (auto at = kept_.begin(); at != kept_.end(); ++at) {
                if (at->user_data != user_data) continue;
                const completion found = *at;
                kept_.erase(at);
                return found;
            }
            kept_ = enter();
        }
        FAIL("no CQE came for request ", user_data);
        return {};
    }
    std::vector<completion> reap() {
        std::vector<completion> all = std::exchange(kept_, {});
        ring_.reap([&](std::uint64_t data, std::int32_t result, std::uint32_t flags) {
            all.push_back({data, result, flags, big(flags) ? ring_.big_half() : 0});
        });
        return all;
    }
    //! What the last io_uring_enter returned.
    [[nodiscard]] int last() const noexcept { return last_; }

    void receive_multishot(int fd, std::uint64_t user_data, std::uint16_t group, unsigned len = 0,
                           unsigned limit = 0) {
        io_uring_sqe& sqe = next(user_data);
        io_uring_prep_recv_multishot(&sqe, fd, nullptr, len, 0);
        sqe.flags |= IOSQE_BUFFER_SELECT;
        sqe.buf_group = group;
        sqe.optlen = limit;
    }
    void cancel(std::uint64_t target, std::uint64_t user_data, unsigned flags = 0) {
        io_uring_prep_cancel64(&next(user_data), target, static_cast<int>(flags));
    }

private:
    [[nodiscard]] bool big(std::uint32_t flags) const noexcept {
        return (flags & IORING_CQE_F_32) != 0 || (ring_.has_big_cqes() && !found_.has("CQE_MIXED"));
    }
    static constexpr int tries = 40;

    int call(unsigned wait, std::int64_t milliseconds) {
        for (const auto& [sqe, user_data] : unsubmitted_) sqe->user_data = user_data;
        unsubmitted_.clear();
        return last_ = ring_.enter(wait, ring_.below().now() + milliseconds * 1'000'000, 0);
    }

    detail::ring ring_;
    features found_;
    std::vector<std::pair<io_uring_sqe*, std::uint64_t>> unsubmitted_;
    std::vector<completion> kept_;
    int last_ = 0;
};

//! A buffer ring with `count` buffers of `size` bytes, none of them given to the kernel yet.
class raw_buffers {
public:
    raw_buffers(detail::kernel& k, raw_ring& r, std::uint16_t group, unsigned count, unsigned size,
                unsigned flags = 0)
        : kernel_(k), ring_(r), group_(group), count_(count), size_(size) {
        int error = 0;
        shared_ = static_cast<io_uring_buf_ring*>(k.map_memory(ring_bytes(), error));
        memory_ = static_cast<std::byte*>(k.map_memory(std::size_t{count} * size, error));
        io_uring_buf_reg registration{};
        registration.ring_addr = reinterpret_cast<std::uint64_t>(shared_);
        registration.ring_entries = count;
        registration.bgid = group;
        registration.flags = static_cast<std::uint16_t>(flags);
        REQUIRE(r.rings().register_call(IORING_REGISTER_PBUF_RING, &registration, 1) == 0);
    }
    ~raw_buffers() {
        io_uring_buf_reg registration{};
        registration.bgid = group_;
        ring_.rings().register_call(IORING_UNREGISTER_PBUF_RING, &registration, 1);
        kernel_.unmap(memory_, std::size_t{count_} * size_);
        kernel_.unmap(shared_, ring_bytes());
    }
    raw_buffers(const raw_buffers&) = delete;
    raw_buffers& operator=(const raw_buffers&) = delete;

    void give(unsigned buffer) {
        // The first entry shares its memory with the tail, so fields are set one by one.
        io_uring_buf& entry = shared_->bufs[tail_ & (count_ - 1)];
        entry.addr = reinterpret_cast<std::uint64_t>(at(buffer));
        entry.len = size_;
        entry.bid = static_cast<std::uint16_t>(buffer);
        __atomic_store_n(&shared_->tail, ++tail_, __ATOMIC_RELEASE);
    }
    void give_all() {
        for (unsigned i = 0; i < count_; ++i) give(i);
    }
    [[nodiscard]] std::byte* at(unsigned buffer) const noexcept {
        return memory_ + std::size_t{buffer} * size_;
    }
    [[nodiscard]] std::string text(const completion& c, std::size_t offset = 0) const {
        return {reinterpret_cast<const char*>(at(c.buffer()) + offset),
                static_cast<std::size_t>(c.result)};
    }

private:
    [[nodiscard]] std::size_t ring_bytes() const noexcept { return count_ * sizeof(io_uring_buf); }

    detail::kernel& kernel_;
    raw_ring& ring_;
    std::uint16_t group_;
    unsigned count_;
    unsigned size_;
    std::uint16_t tail_ = 0;
    io_uring_buf_ring* shared_ = nullptr;
    std::byte* memory_ = nullptr;
};

inline sockaddr_in loopback_v4(std::uint16_t port) noexcept {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

//! A socket that listens on the loopback address; `port` is set when it was 0.
inline int listening_socket(detail::kernel& k, std::uint16_t& port, int backlog = 16) {
    const int fd = k.socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(fd >= 0);
    sockaddr_in address = loopback_v4(port);
    socklen_t length = sizeof address;
    REQUIRE(k.bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(k.listen(fd, backlog) == 0);
    REQUIRE(k.local_address(fd, reinterpret_cast<sockaddr*>(&address), length) == 0);
    port = ntohs(address.sin_port);
    return fd;
}

//! Both ends of a connection.
struct connected_pair {
    int client;
    int server;
};

//! Made with operations of the ring, on any kernel.
inline connected_pair connect_pair(detail::kernel& k, raw_ring& r) {
    std::uint16_t port = 0;
    const int listening = listening_socket(k, port);
    const int client = k.socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback_v4(port);
    io_uring_prep_accept(&r.next(1), listening, nullptr, nullptr, 0);
    io_uring_prep_connect(&r.next(2), client, reinterpret_cast<sockaddr*>(&address),
                          sizeof address);
    connected_pair pair{client, -1};
    pair.server = r.take(1).result;
    REQUIRE(r.take(2).result == 0);
    REQUIRE(pair.server >= 0);
    k.close(listening);
    return pair;
}

}  // namespace sluice::sim
