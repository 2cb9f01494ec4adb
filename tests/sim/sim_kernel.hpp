// SPDX-License-Identifier: Apache-2.0
//! A simulated Linux below the seam of the runtime.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/kernel/kernel.hpp"
#include "sim/descriptor_table.hpp"
#include "sim/network.hpp"
#include "sim/peer.hpp"
#include "sim/sim_ring.hpp"
#include "sim/sim_socket.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

//! io_uring, TCP over a simulated network, and a clock that moves only while the program waits or
//! calls. Everything that happens follows from the seed and from what the program does. For one
//! thread: wake() too. A reactor runs on it through reactor::create_on(); it must outlive the
//! reactor.
class sim_kernel final : public detail::kernel {
public:
    explicit sim_kernel(std::uint64_t seed = 1, const sim_options& options = {});
    ~sim_kernel() override;

    // What a test sets. Sizes and features are read when a ring, a socket or a request is made.

    [[nodiscard]] std::uint64_t seed() const noexcept { return world_.seed; }
    [[nodiscard]] sim_options& options() noexcept { return world_.options; }
    [[nodiscard]] fault_plan& faults() noexcept { return world_.faults; }
    [[nodiscard]] random_source& random() noexcept { return world_.random; }
    //! Called for what a correct program does not do, and for a deadlock, after which the enter
    //! fails with EDEADLK. Without a handler the reason is printed and the process aborts.
    void on_failure(std::function<void(std::uint64_t seed, const std::string& reason)> handler) {
        world_.on_failure = std::move(handler);
    }

    //! Called in each io_uring_enter before anything happens there: once a turn of a reactor, when
    //! its books have to balance. Must not call the kernel.
    void on_enter(std::function<void()> look) { on_enter_ = std::move(look); }

    // What a test does.

    //! Calls `fn` so much later, from within the call that makes the time pass. It may call
    //! reactor::post() and peers, but not the reactor's other functions.
    void after(std::chrono::nanoseconds delay, std::function<void()> fn);
    //! A client that begins to connect to a port of the loopback address.
    std::shared_ptr<peer> connect_peer(std::uint16_t port, int family = AF_INET);
    //! Everyone who connects to this port of the loopback address is handed to `fn`.
    void listen_peers(std::uint16_t port, std::function<void(const std::shared_ptr<peer>&)> fn);
    //! Fails, with this reason, unless `good`. For the checks of a scenario.
    void expect(bool good, const std::string& reason) const;

    // What a test looks at.

    [[nodiscard]] const sim_books& books() const noexcept { return world_.books; }
    //! Provided buffers that the program holds, of all groups that are registered.
    [[nodiscard]] std::size_t lent_buffers() const;
    //! Those that the kernel holds.
    [[nodiscard]] std::size_t held_buffers() const;
    [[nodiscard]] std::chrono::nanoseconds time() const noexcept {
        return std::chrono::nanoseconds{world_.clock.now()};
    }
    //! Chunks of rx queues that the program holds, of all rings.
    [[nodiscard]] std::size_t lent_chunks() const;
    //! What the program has left behind, in words: descriptors, requests, buffer groups, memory.
    //! Empty when there is nothing.
    [[nodiscard]] std::string check_clean() const;

    // The seam.

    int uring_setup(unsigned entries, io_uring_params& params) noexcept override;
    int uring_enter(int ring, unsigned submit, unsigned wait, unsigned flags, const void* argument,
                    std::size_t argument_size) noexcept override;
    int uring_register(int ring, unsigned opcode, void* argument, unsigned count) noexcept override;
    void* map_ring(int ring, std::size_t length, std::uint64_t offset,
                   int& error) noexcept override;
    void* map_memory(std::size_t length, int& error) noexcept override;
    void* map_stack(std::size_t length, std::size_t guard, int& error) noexcept override;
    void unmap(void* address, std::size_t length) noexcept override;
    void keep_from_children(void*, std::size_t) noexcept override {}
    int socket(int domain, int type, int protocol) noexcept override;
    int bind(int fd, const sockaddr* address, socklen_t length) noexcept override;
    int listen(int fd, int backlog) noexcept override;
    int set_option(int fd, int level, int name, const void* value,
                   socklen_t length) noexcept override;
    int get_option(int fd, int level, int name, void* value, socklen_t& length) noexcept override;
    int local_address(int fd, sockaddr* address, socklen_t& length) noexcept override;
    int peer_address(int fd, sockaddr* address, socklen_t& length) noexcept override;
    int close(int fd) noexcept override;
    int duplicate(int fd) noexcept override;
    int reserve_descriptor() noexcept override;
    int accept(int fd) noexcept override;
    int make_blocking(int fd) noexcept override;
    int wake_descriptor() noexcept override;
    void wake(int wake_descriptor) noexcept override;
    std::int64_t now() noexcept override;

private:
    static constexpr std::size_t ring_slots = 16;  // registered ring descriptors, as in Linux

    void spend(std::int64_t nanoseconds);
    std::shared_ptr<sim_socket> socket_of(int fd, int& error) const;
    std::shared_ptr<sim_ring> ring_of(int fd, bool registered) const;
    int read_terms(const void* argument, std::size_t size, unsigned flags, wait_terms& terms) const;
    int register_rings(io_uring_rsrc_update* updates, unsigned count);
    int unregister_rings(const io_uring_rsrc_update* updates, unsigned count);

    world world_;
    network network_;
    descriptor_table descriptors_;
    std::vector<std::weak_ptr<sim_ring>> rings_;            // all that were made
    std::vector<std::shared_ptr<sim_ring>> ring_registry_;  // registered ring descriptors
    std::vector<std::shared_ptr<peer>> peers_;
    std::vector<std::shared_ptr<accept_queue>> peer_listeners_;
    std::map<void*, mapped_pages> memory_;
    std::function<void()> on_enter_;
    std::uint64_t calls_ = 0;
};

}  // namespace sluice::sim
