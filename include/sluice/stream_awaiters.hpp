// SPDX-License-Identifier: Apache-2.0
//! What the operations of a tcp_stream are made of. Users meet these types only through
//! tcp_stream, where the contracts are.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include "sluice/awaitable.hpp"
#include "sluice/brief_error.hpp"
#include "sluice/buffer.hpp"
#include "sluice/buffer_chain.hpp"
#include "sluice/result.hpp"

namespace sluice {
class tcp_stream;
}

namespace sluice::detail {

class connection;
class send_queue;

//! How many awaiters refer to a connection, and so keep it: its first base, which is all that code
//! outside of the library knows of it.
class pin_count {
public:
    void pin() noexcept { ++pins_; }
    void unpin() noexcept {
        if (--pins_ == 0 && gone_) destroy();
    }

protected:
    pin_count() = default;
    ~pin_count() = default;

    //! It has ended and goes with its last pin, at once if there is none.
    void go() noexcept {
        gone_ = true;
        if (pins_ == 0) destroy();
    }

private:
    void destroy() noexcept;

    std::uint32_t pins_ = 0;
    bool gone_ = false;
};

//! Closes in the background; on any thread.
void drop_connection(connection& c) noexcept;

//! Keeps the object behind a stream from being freed while an awaiter refers to it, even when
//! another task closes the stream meanwhile.
class connection_pin {
public:
    explicit connection_pin(connection& c) noexcept : connection_(&c) { count().pin(); }
    connection_pin(connection_pin&& o) noexcept
        : connection_(std::exchange(o.connection_, nullptr)) {}
    connection_pin& operator=(connection_pin&&) = delete;
    ~connection_pin() {
        if (connection_ != nullptr) count().unpin();
    }
    connection& operator*() const noexcept { return *connection_; }
    connection* operator->() const noexcept { return connection_; }

private:
    pin_count& count() const noexcept { return *reinterpret_cast<pin_count*>(connection_); }
    connection* connection_;
};

//! Waits for bytes, the end of the stream, or an error; takes nothing itself.
class receive_awaiter : public waiter {
public:
    static constexpr bool takes_on_resume = true;

    explicit receive_awaiter(connection& c) noexcept : connection_(c) {}

    bool await_ready() const noexcept;
    bool await_suspend(std::coroutine_handle<> h, const environment& env);
    void on_stop() noexcept override;
    void describe(await_description& into) const override;

protected:
    receive_awaiter(receive_awaiter&&) = default;
    ~receive_awaiter() = default;

    bool cancelled_ = false;  // in the padding of the base
    connection_pin connection_;
};

class [[nodiscard]] recv_awaiter final : public receive_awaiter {
public:
    using receive_awaiter::receive_awaiter;
    result<rx_buffer> await_resume();
};

class [[nodiscard]] recv_into_awaiter final : public receive_awaiter {
public:
    recv_into_awaiter(connection& c, std::span<std::byte> to) noexcept
        : receive_awaiter(c), to_(to) {}
    result<std::size_t> await_resume();

private:
    std::span<std::byte> to_;
};

enum class send_extent : std::uint8_t { some, all, shutdown };

//! Whose memory it is that is sent, and so whether the kernel may go on using it.
enum class send_memory : std::uint8_t {
    borrowed,  //!< the caller's until the send completes: it is copied
    owned,     //!< buffers, which a zero-copy send shares
    lent,      //!< the caller's until the kernel has done with it, and then the send completes
};

//! One entry of a connection's send queue, whatever the bytes are kept in.
class send_call : public waiter {
public:
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env);
    result<std::size_t> await_resume() const noexcept {
        if (failed_) return failed_.code();
        return sent_;
    }
    void on_stop() noexcept override;
    void describe(await_description& into) const override;

protected:
    send_call(connection& c, std::size_t total, send_extent extent, send_memory memory) noexcept
        : extent_(extent), memory_(memory), connection_(c), total_(total) {}
    send_call(send_call&&) = default;
    ~send_call() = default;

private:
    friend class send_queue;
    friend class send_hold;

    [[nodiscard]] virtual std::size_t piece_count() const noexcept = 0;
    [[nodiscard]] virtual std::span<const std::byte> piece(std::size_t i) const noexcept = 0;
    //! The buffer that the piece is; null for memory of the caller's.
    [[nodiscard]] virtual const rx_buffer* buffer(std::size_t i) const noexcept = 0;

    [[nodiscard]] std::size_t left() const noexcept { return total_ - sent_; }
    //! It has left the queue, and its coroutine waits for the end of zero-copy sends only.
    [[nodiscard]] bool settled() const noexcept { return failed_ || left() == 0; }
    //! Goes on unless the kernel still uses its memory.
    void end() noexcept {
        if (unreleased_ == 0) wake();
    }

    send_extent extent_;  // these in the padding of the base
    send_memory memory_;
    bool in_flight_ = false;
    bool cancelled_ = false;
    connection_pin connection_;
    std::size_t total_;
    std::size_t sent_ = 0;
    send_call* next_ = nullptr;     // in the queue
    std::uint32_t unreleased_ = 0;  // zero-copy sends of lent memory that are not over
    brief_error failed_;
};

//! What a send is made of: bytes or several pieces of them that the caller keeps, or buffers that
//! it owns.
using borrowed_bytes = std::span<const std::byte>;
using borrowed_pieces = std::span<const std::span<const std::byte>>;
struct lent_bytes : borrowed_bytes {};

template <class Payload>
constexpr send_memory memory_of() noexcept {
    if constexpr (std::is_same_v<Payload, lent_bytes>) return send_memory::lent;
    if constexpr (std::is_same_v<Payload, rx_buffer> || std::is_same_v<Payload, buffer_chain>)
        return send_memory::owned;
    return send_memory::borrowed;
}

inline std::size_t bytes_in(const borrowed_bytes& b) noexcept { return b.size(); }
inline std::size_t bytes_in(const rx_buffer& b) noexcept { return b.size(); }
inline std::size_t bytes_in(const buffer_chain& c) noexcept { return c.size(); }
inline std::size_t bytes_in(const borrowed_pieces& pieces) noexcept {
    std::size_t bytes = 0;
    for (const auto& p : pieces) bytes += p.size();
    return bytes;
}

template <class Payload>
class [[nodiscard]] send_awaiter final : public send_call {
public:
    send_awaiter(connection& c, Payload&& payload, send_extent extent = send_extent::all) noexcept
        : send_call(c, bytes_in(payload), extent, memory_of<Payload>()),
          payload_(std::move(payload)) {}
    send_awaiter(send_awaiter&&) = default;

private:
    [[nodiscard]] std::size_t piece_count() const noexcept override {
        if constexpr (requires { payload_.count(); })
            return payload_.count();
        else if constexpr (std::is_same_v<Payload, borrowed_pieces>)
            return payload_.size();
        else
            return payload_.empty() ? 0 : 1;
    }
    [[nodiscard]] std::span<const std::byte> piece(std::size_t i) const noexcept override {
        if constexpr (std::is_same_v<Payload, buffer_chain>)
            return payload_[i].bytes();
        else if constexpr (std::is_same_v<Payload, borrowed_pieces>)
            return payload_[i];
        else
            return {payload_.data(), payload_.size()};
    }
    [[nodiscard]] const rx_buffer* buffer([[maybe_unused]] std::size_t i) const noexcept override {
        if constexpr (std::is_same_v<Payload, rx_buffer>)
            return &payload_;
        else if constexpr (std::is_same_v<Payload, buffer_chain>)
            return &payload_[i];
        else
            return nullptr;
    }

    Payload payload_;
};

//! Waits until the connection has gone.
class [[nodiscard]] close_awaiter final : public waiter {
public:
    explicit close_awaiter(connection* c) noexcept : connection_(c) {}
    close_awaiter(close_awaiter&& o) noexcept
        : waiter(std::move(o)), connection_(std::exchange(o.connection_, nullptr)) {}
    ~close_awaiter() {
        if (connection_ != nullptr) drop_connection(*connection_);
    }
    bool await_ready() const noexcept { return connection_ == nullptr; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept;
    void await_resume() const noexcept {}
    void on_stop() noexcept override {}
    void describe(await_description& into) const override;

private:
    connection* connection_;
};

}  // namespace sluice::detail
