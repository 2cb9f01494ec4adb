// SPDX-License-Identifier: Apache-2.0
//! What the operations of a tcp_stream are made of. Users meet these types only through
//! tcp_stream, where the contracts are.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "sluice/awaitable.hpp"
#include "sluice/buffer.hpp"
#include "sluice/buffer_chain.hpp"
#include "sluice/result.hpp"

namespace sluice {
class tcp_stream;
}

namespace sluice::detail {

class connection;
class send_queue;

//! Closes in the background; on any thread.
void drop_connection(connection& c) noexcept;

//! Keeps the object behind a stream from being freed while an awaiter refers to it, even when
//! another task closes the stream meanwhile.
class connection_pin {
public:
    explicit connection_pin(connection& c) noexcept;
    connection_pin(connection_pin&& o) noexcept
        : connection_(std::exchange(o.connection_, nullptr)) {}
    connection_pin& operator=(connection_pin&&) = delete;
    ~connection_pin() {
        if (connection_ != nullptr) unpin();
    }
    connection& operator*() const noexcept { return *connection_; }
    connection* operator->() const noexcept { return connection_; }

private:
    void unpin() noexcept;
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

    connection_pin connection_;
    bool cancelled_ = false;
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

//! One entry of a connection's send queue, part of the awaiter.
class [[nodiscard]] send_awaiter final : public waiter {
public:
    send_awaiter(connection& c, std::span<const std::byte> bytes, send_extent extent) noexcept
        : connection_(c), single_(bytes), total_(bytes.size()), extent_(extent) {}
    send_awaiter(connection& c, send_extent extent) noexcept : connection_(c), extent_(extent) {}
    send_awaiter(connection& c, rx_buffer buffer) noexcept
        : send_awaiter(c, buffer_chain(std::move(buffer))) {}
    send_awaiter(connection& c, std::span<const std::span<const std::byte>> pieces) noexcept;
    send_awaiter(connection& c, buffer_chain chain) noexcept
        : connection_(c), chain_(std::move(chain)), total_(chain_.size()) {}
    send_awaiter(send_awaiter&&) = default;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env);
    result<std::size_t> await_resume() const noexcept {
        if (failed_) return failed_;
        return sent_;
    }
    void on_stop() noexcept override;
    void describe(await_description& into) const override;

private:
    friend class send_queue;

    [[nodiscard]] std::size_t piece_count() const noexcept;
    [[nodiscard]] std::span<const std::byte> piece(std::size_t i) const noexcept;
    [[nodiscard]] std::size_t left() const noexcept { return total_ - sent_; }
    void finish(boost::system::error_code failed) noexcept {
        failed_ = failed;
        wake();
    }

    connection_pin connection_;
    std::span<const std::byte> single_;
    std::span<const std::span<const std::byte>> pieces_;
    buffer_chain chain_;
    std::size_t total_ = 0;
    std::size_t sent_ = 0;
    boost::system::error_code failed_;
    send_awaiter* next_ = nullptr;  // in the queue
    send_extent extent_ = send_extent::all;
    bool in_flight_ = false;
    bool cancelled_ = false;
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
