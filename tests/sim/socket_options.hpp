// SPDX-License-Identifier: Apache-2.0
//! setsockopt(2) and getsockopt(2) of a simulated socket.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <map>
#include <utility>

#include "sim/tcp_connection.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

//! The options that a program has set. Those that mean something to the simulation have functions
//! of their own; the others that a server uses are remembered; ENOPROTOOPT for the rest.
class socket_options {
public:
    explicit socket_options(const sim_options& defaults)
        : buffers_{defaults.send_buffer, defaults.receive_buffer} {}

    int set(int level, int name, const void* value, socklen_t length);
    //! Not for SO_ERROR and what else depends on the connection.
    int get(int level, int name, void* value, socklen_t& length) const;

    [[nodiscard]] bool share_port() const { return value(SOL_SOCKET, SO_REUSEPORT) != 0; }
    [[nodiscard]] bool share_address() const { return value(SOL_SOCKET, SO_REUSEADDR) != 0; }
    [[nodiscard]] bool reset_on_close() const noexcept {
        return linger_.l_onoff != 0 && linger_.l_linger == 0;
    }
    [[nodiscard]] buffer_sizes buffers() const noexcept { return buffers_; }

private:
    [[nodiscard]] int value(int level, int name) const;

    std::map<std::pair<int, int>, int> values_;
    linger linger_{};
    buffer_sizes buffers_;
};

//! Copies an answer of getsockopt(2): as much as fits, `length` set to that.
int give_option(const void* answer, std::size_t size, void* value, socklen_t& length) noexcept;

}  // namespace sluice::sim
