// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_kernel.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "sim/simple_files.hpp"

namespace sluice::sim {

namespace {

void print_and_abort(std::uint64_t seed, const std::string& reason) {
    std::fprintf(stderr, "simulated kernel, seed %llu: %s\n", static_cast<unsigned long long>(seed),
                 reason.c_str());
    std::abort();
}

}  // namespace

sim_kernel::sim_kernel(std::uint64_t seed, const sim_options& options)
    : world_(seed, options), network_(world_), descriptors_(world_) {
    world_.on_failure = print_and_abort;
}

sim_kernel::~sim_kernel() {
    world_.clock.clear();
    peers_.clear();
    peer_listeners_.clear();
    ring_registry_.clear();
    descriptors_.close_all();
    world_.clock.clear();  // what the closing has scheduled
}

void sim_kernel::after(std::chrono::nanoseconds delay, std::function<void()> fn) {
    world_.clock.after(delay.count(), std::move(fn));
}

std::shared_ptr<peer> sim_kernel::connect_peer(std::uint16_t port, int family) {
    auto made = std::make_shared<peer>(world_);
    peers_.push_back(made);
    made->start_connect(network_, loopback(family, network_.free_port()), loopback(family, port));
    return made;
}

void sim_kernel::listen_peers(std::uint16_t port,
                              std::function<void(const std::shared_ptr<peer>&)> fn) {
    const buffer_sizes sizes{world_.options.send_buffer, world_.options.receive_buffer};
    for (const int family : {AF_INET, AF_INET6}) {
        auto queue =
            std::make_shared<accept_queue>(loopback(family, port), world_.options.somaxconn, sizes);
        queue->on_arrival([this, fn, q = queue.get()] {
            while (auto connection = q->take()) {
                auto made = std::make_shared<peer>(world_);
                peers_.push_back(made);
                made->attach(std::move(connection), end_of::server);
                fn(made);
            }
        });
        network_.listen(queue);
        peer_listeners_.push_back(std::move(queue));
    }
}

void sim_kernel::expect(bool good, const std::string& reason) const {
    if (!good) world_.fail(reason);
}

std::size_t sim_kernel::lent_buffers() const {
    std::size_t lent = 0;
    for (const auto& weak : rings_)
        if (const auto ring = weak.lock())
            for (const auto& [id, group] : ring->groups()) {
                group->audit();
                lent += group->lent();
            }
    return lent;
}

std::size_t sim_kernel::held_buffers() const {
    std::size_t held = 0;
    for (const auto& weak : rings_)
        if (const auto ring = weak.lock())
            for (const auto& [id, group] : ring->groups()) {
                group->audit();
                held += group->held();
            }
    return held;
}

std::size_t sim_kernel::lent_chunks() const {
    std::size_t lent = 0;
    for (const auto& weak : rings_)
        if (const auto ring = weak.lock()) lent += ring->lent_chunks();
    return lent;
}

std::string sim_kernel::check_clean() const {
    std::string text = descriptors_.describe();
    for (const auto& weak : rings_) {
        const auto ring = weak.lock();
        if (ring == nullptr) continue;
        text += ring->describe_requests();
        for (const auto& [id, group] : ring->groups())
            text += "buffer group " + std::to_string(id) + " is registered, " +
                    std::to_string(group->lent()) + " buffers lent\n";
    }
    if (const auto dropped = world_.books.requests_dropped; dropped != 0)
        text += std::to_string(dropped) + " requests were live when their ring was closed\n";
    if (const auto mappings = world_.books.mappings; mappings != 0)
        text += std::to_string(mappings) + " mappings are left\n";
    return text;
}

void sim_kernel::spend(std::int64_t nanoseconds) {
    if (++calls_ == world_.options.call_limit)
        world_.fail("livelock: the program calls and calls, and does not end");
    world_.clock.advance_to(world_.clock.now() + nanoseconds);
    world_.clock.run_due();
}

std::int64_t sim_kernel::now() noexcept {
    spend(world_.options.look_cost);
    return world_.clock.now();
}

void* sim_kernel::map_memory(std::size_t length, int& error) noexcept {
    mapped_pages pages(length);
    void* address = pages.data();
    if (address == nullptr) {
        error = ENOMEM;
        return nullptr;
    }
    ++world_.books.mappings;
    memory_.emplace(address, std::move(pages));
    return address;
}

void* sim_kernel::map_stack(std::size_t length, std::size_t guard, int& error) noexcept {
    auto* low = static_cast<std::byte*>(map_memory(guard + length, error));
    if (low == nullptr) return nullptr;
    memory_.at(low).forbid(guard);
    return low + guard;
}

void sim_kernel::unmap(void* address, std::size_t) noexcept {
    for (const auto& weak : rings_)
        if (const auto ring = weak.lock()) ring->unmapped(address);
    --world_.books.mappings;
    memory_.erase(address);  // a mapping of a ring is not there: its pages are the ring's
}

int sim_kernel::duplicate(int fd) noexcept {
    auto file = descriptors_.find(fd);
    return file == nullptr ? -EBADF : descriptors_.install(std::move(file));
}

int sim_kernel::reserve_descriptor() noexcept {
    return descriptors_.install(std::make_shared<placeholder>(world_));
}

int sim_kernel::wake_descriptor() noexcept {
    return descriptors_.install(std::make_shared<event_counter>(world_));
}

void sim_kernel::wake(int wake_descriptor) noexcept {
    if (const auto counter = descriptors_.find_as<event_counter>(wake_descriptor)) counter->add(1);
}

// O_NONBLOCK is not simulated: operations of a ring wait all the same, and nothing else does.
int sim_kernel::make_blocking(int fd) noexcept {
    return descriptors_.find(fd) == nullptr ? -EBADF : 0;
}

int sim_kernel::close(int fd) noexcept { return descriptors_.close(fd); }

}  // namespace sluice::sim
