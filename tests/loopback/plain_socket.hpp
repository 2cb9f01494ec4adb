// SPDX-License-Identifier: Apache-2.0
//! Blocking sockets for the other end of a test: they share no code with what is tested.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "sluice/endpoint.hpp"

namespace sluice::testing {

//! A stream socket. Whatever would take longer than `patience_seconds` fails with EAGAIN, so that a
//! lost byte fails a test instead of hanging it. Functions return what the system call returns and
//! leave errno alone; none throws but the constructors' makers.
class plain_socket {
public:
    static constexpr int patience_seconds = 30;

    plain_socket() = default;
    explicit plain_socket(int fd) noexcept;
    plain_socket(plain_socket&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
    plain_socket& operator=(plain_socket&& o) noexcept {
        close();
        fd_ = std::exchange(o.fd_, -1);
        return *this;
    }
    ~plain_socket() { close(); }

    //! Throws std::system_error. With `source`, a numeric IPv4 address in host order, it connects
    //! from there.
    static plain_socket connect(const endpoint& to, std::uint32_t source = 0);

    [[nodiscard]] int fd() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

    //! Sends everything; false on an error.
    bool send(std::span<const std::byte> bytes) noexcept;
    bool send(std::string_view text) noexcept;

    //! As recv(2).
    ssize_t recv(std::span<std::byte> to) noexcept;
    //! Fills `to`; false when the stream ends before, or on an error.
    bool recv_exact(std::span<std::byte> to) noexcept;
    //! Everything up to the end of the stream. errno is 0 when it ended in order.
    std::string recv_all();
    //! As much as `count` bytes; less at the end of the stream.
    std::string recv_text(std::size_t count);

    void shutdown_write() noexcept;
    void close() noexcept;
    //! Closes with a reset: SO_LINGER with time 0.
    void reset() noexcept;
    void set_option(int level, int name, int value) noexcept;

private:
    int fd_ = -1;
};

//! A listening socket. Throws std::system_error.
class plain_listener {
public:
    explicit plain_listener(const endpoint& at, int backlog = 128, int receive_buffer = 0);

    [[nodiscard]] const endpoint& local() const noexcept { return local_; }
    [[nodiscard]] int fd() const noexcept { return socket_.fd(); }
    [[nodiscard]] int release() noexcept { return socket_.release(); }
    //! Waits for a connection. Throws std::system_error when none comes.
    plain_socket accept();
    void close() noexcept { socket_.close(); }

private:
    plain_socket socket_;
    endpoint local_;
};

//! 127.0.0.1 and a port.
endpoint loopback(std::uint16_t port = 0);

//! A Unix endpoint in the abstract name space that nobody else uses.
endpoint unique_abstract();

//! The bytes of a text.
inline std::span<const std::byte> bytes_of(std::string_view text) noexcept {
    return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace sluice::testing
