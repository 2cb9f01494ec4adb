// SPDX-License-Identifier: Apache-2.0
//! The seam's socket calls.
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "sim/sim_kernel.hpp"

namespace sluice::sim {

std::shared_ptr<sim_socket> sim_kernel::socket_of(int fd, int& error) const {
    const auto file = descriptors_.find(fd);
    auto found = std::dynamic_pointer_cast<sim_socket>(file);
    error = 0;
    if (found == nullptr) error = file == nullptr ? -EBADF : -ENOTSOCK;
    return found;
}

int sim_kernel::socket(int domain, int type, int protocol) noexcept {
    if (domain != AF_INET && domain != AF_INET6) return -EAFNOSUPPORT;
    if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM) return -EPROTONOSUPPORT;
    if (protocol != 0 && protocol != IPPROTO_TCP) return -EPROTONOSUPPORT;
    return descriptors_.install(std::make_shared<sim_socket>(world_, network_, domain));
}

int sim_kernel::bind(int fd, const sockaddr* address, socklen_t length) noexcept {
    int error = 0;
    const auto found = socket_of(fd, error);
    if (found == nullptr) return error;
    const auto wanted = read_address(address, length);
    return wanted ? found->bind(*wanted) : -EINVAL;
}

int sim_kernel::listen(int fd, int backlog) noexcept {
    int error = 0;
    const auto found = socket_of(fd, error);
    return found == nullptr ? error : found->listen(backlog);
}

int sim_kernel::set_option(int fd, int level, int name, const void* value,
                           socklen_t length) noexcept {
    int error = 0;
    const auto found = socket_of(fd, error);
    return found == nullptr ? error : found->set_option(level, name, value, length);
}

int sim_kernel::get_option(int fd, int level, int name, void* value, socklen_t& length) noexcept {
    int error = 0;
    const auto found = socket_of(fd, error);
    return found == nullptr ? error : found->get_option(level, name, value, length);
}

int sim_kernel::local_address(int fd, sockaddr* address, socklen_t& length) noexcept {
    int error = 0;
    const auto found = socket_of(fd, error);
    if (found != nullptr) write_address(found->local_address(), address, length);
    return error;
}

int sim_kernel::peer_address(int fd, sockaddr* address, socklen_t& length) noexcept {
    int error = 0;
    const auto found = socket_of(fd, error);
    sim_address peer;
    if (found != nullptr) error = found->peer_address(peer);
    if (error == 0) write_address(peer, address, length);
    return error;
}

int sim_kernel::accept(int fd) noexcept {
    int error = 0;
    const auto found = socket_of(fd, error);
    if (found == nullptr) return error;
    if (!descriptors_.room(world_.options.descriptor_limit)) return -EMFILE;
    auto accepted = found->accept(error);
    return accepted == nullptr ? error : descriptors_.install(std::move(accepted));
}

}  // namespace sluice::sim
