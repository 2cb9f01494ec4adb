// SPDX-License-Identifier: Apache-2.0
//! Descriptors that go from process to process over Unix sockets. Not simulated.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include "sluice/result.hpp"

namespace sluice::detail {

//! Error: EACCES when the process at the other end is neither of our user nor root.
result<void> check_user(int socket);

//! The text, of less than 256 bytes, must not be empty. Does not wait: EAGAIN.
result<void> send_descriptors(int socket, const std::string& text, std::span<const int> sent);

//! A connected Unix socket whose calls take `patience` at most.
result<int> connect_to(const sockaddr* address, socklen_t length,
                       std::chrono::milliseconds patience);

//! What send_descriptors() sent: the text, and the descriptors, which close on exec. Errors:
//! ETIMEDOUT; EPIPE: nothing came.
result<std::pair<std::string, std::vector<int>>> receive_descriptors(int socket);

//! Sends one byte and waits for the end of the stream.
result<void> send_and_await_end(int socket);

void close_descriptor(int descriptor) noexcept;

}  // namespace sluice::detail
