// SPDX-License-Identifier: Apache-2.0
#include "sim/network.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluice::sim {

namespace {

constexpr std::uint16_t first_ephemeral_port = 32768;
constexpr std::int64_t first_retry = 1'000'000'000;  // of a SYN that got no answer
constexpr unsigned most_tries = 7;                   // Linux: tcp_syn_retries + 1

// Whether connections to `to` arrive at a socket bound to `bound`.
bool reaches(const sim_address& to, const sim_address& bound) noexcept {
    if (to.port != bound.port) return false;
    if (to.family == bound.family) return bound.is_any() || to.ip == bound.ip;
    return bound.family == AF_INET6 && (bound.is_any() || mapped(to).ip == bound.ip);
}

bool overlap(const sim_address& a, const sim_address& b) noexcept {
    return reaches(a, b) || reaches(b, a);
}

}  // namespace

std::shared_ptr<tcp_connection> accept_queue::take() {
    if (waiting_.empty()) return nullptr;
    auto first = std::move(waiting_.front());
    waiting_.pop_front();
    return first;
}

void accept_queue::close() {
    open_ = false;
    hook_ = nullptr;
    for (const auto& c : std::exchange(waiting_, {})) c->close(end_of::server, true);
}

std::int64_t network::latency() noexcept {
    return world_.random.between(world_.options.latency_min, world_.options.latency_max);
}

std::uint16_t network::free_port() {
    const auto used = [&](std::uint16_t port) {
        return std::any_of(bindings_.begin(), bindings_.end(),
                           [&](const binding& b) { return b.address.port == port; });
    };
    do {
        next_port_ = next_port_ == UINT16_MAX ? first_ephemeral_port
                                              : static_cast<std::uint16_t>(next_port_ + 1);
    } while (used(next_port_));
    return next_port_;
}

bool network::listening(const sim_address& address) const {
    return std::any_of(queues_.begin(), queues_.end(), [&](const auto& weak) {
        const auto queue = weak.lock();
        return queue != nullptr && queue->open_ && overlap(queue->where_, address);
    });
}

int network::bind(const void* owner, sim_address& address, bool share_port, bool share_address) {
    if (address.port == 0) address.port = free_port();
    for (const binding& b : bindings_) {
        if (!overlap(b.address, address)) continue;
        const bool both_share_port = share_port && b.share_port;
        const bool both_share_address = share_address && b.share_address && !listening(address);
        if (!both_share_port && !both_share_address) return -EADDRINUSE;
    }
    bindings_.push_back({owner, address, share_port, share_address});
    return 0;
}

void network::unbind(const void* owner) noexcept {
    std::erase_if(bindings_, [&](const binding& b) { return b.owner == owner; });
}

void network::listen(const std::shared_ptr<accept_queue>& queue) {
    std::erase_if(queues_, [](const auto& weak) { return weak.expired(); });
    queues_.push_back(queue);
}

std::shared_ptr<accept_queue> network::find(const sim_address& from, const sim_address& to) {
    std::vector<std::shared_ptr<accept_queue>> group;
    for (const auto& weak : queues_)
        if (auto queue = weak.lock(); queue != nullptr && queue->open_)
            if (reaches(to, queue->where_)) group.push_back(std::move(queue));
    if (group.empty()) return nullptr;
    return group[random_source(from.port).next() % group.size()];
}

std::shared_ptr<connect_attempt> network::connect(const sim_address& from, const sim_address& to,
                                                  buffer_sizes buffers) {
    auto attempt = std::make_shared<connect_attempt>();
    const handshake h{attempt, from, to, buffers};
    world_.clock.after(latency(), [this, h] { knock(h); });
    return attempt;
}

void network::finish(const handshake& h, int error, std::shared_ptr<tcp_connection> made) {
    if (const auto attempt = h.attempt.lock(); attempt != nullptr && attempt->done)
        attempt->done(error, std::move(made));
    else if (made != nullptr)
        made->close(end_of::client, true);
}

// The SYN arrives.
void network::knock(const handshake& h) {
    if (h.attempt.expired()) return;
    const auto queue = find(h.from, h.to);
    if (queue == nullptr) {
        world_.clock.after(latency(), [h] { finish(h, ECONNREFUSED, nullptr); });
    } else if (!queue->full()) {
        answer(h, queue);
    } else if (h.tries + 1 < most_tries) {
        handshake again = h;
        ++again.tries;
        world_.clock.after(first_retry << h.tries, [this, again] { knock(again); });
    } else {
        world_.clock.after(first_retry << h.tries, [h] { finish(h, ETIMEDOUT, nullptr); });
    }
}

// The SYN was taken: its answer goes back, and the client's answer to that makes the connection.
void network::answer(const handshake& h, const std::shared_ptr<accept_queue>& queue) {
    const bool as_v6 = queue->where_.family == AF_INET6;
    const sim_address client = as_v6 ? mapped(h.from) : h.from;
    const sim_address server = as_v6 ? mapped(h.to) : h.to;
    auto made =
        std::make_shared<tcp_connection>(world_, client, server, h.buffers, queue->buffers_);
    const std::int64_t back = world_.clock.now() + latency();
    const std::int64_t forth = back + latency();
    made->hold_until(forth);
    ++queue->promised_;
    world_.clock.at(back, [h, made] { finish(h, 0, made); });
    world_.clock.at(forth, [queue, made] {
        --queue->promised_;
        if (!queue->open_) {
            made->close(end_of::server, true);
            return;
        }
        queue->waiting_.push_back(made);
        if (queue->hook_) queue->hook_();
    });
}

}  // namespace sluice::sim
