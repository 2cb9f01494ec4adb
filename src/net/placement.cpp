// SPDX-License-Identifier: Apache-2.0
#include "sluice/placement.hpp"

#include <netinet/in.h>

#include <array>
#include <cstring>

#include "net/net_context.hpp"
#include "net/queue_owners.hpp"
#include "sluice/tcp_stream.hpp"

namespace sluice {

namespace {

//! What a NIC hashes: source address, destination address, source port, destination port.
class hash_input {
public:
    void add(const void* bytes, std::size_t count) noexcept {
        std::memcpy(bytes_.data() + size_, bytes, count);
        size_ += count;
    }
    void add_port(std::uint16_t port) noexcept {
        const std::uint8_t bytes[] = {static_cast<std::uint8_t>(port >> 8),
                                      static_cast<std::uint8_t>(port)};
        add(bytes, sizeof bytes);
    }
    [[nodiscard]] std::span<const std::uint8_t> get() const noexcept {
        return {bytes_.data(), size_};
    }

private:
    std::array<std::uint8_t, 36> bytes_{};
    std::size_t size_ = 0;
};

struct raw_address {
    const void* bytes = nullptr;
    std::size_t size = 0;  // 0: neither IPv4 nor IPv6
};

// On the wire an IPv6 socket with a mapped address talks IPv4.
raw_address address_of(const endpoint& e) noexcept {
    if (e.family() == AF_INET) {
        const auto& v4 = *reinterpret_cast<const sockaddr_in*>(e.data());
        return {&v4.sin_addr, sizeof v4.sin_addr};
    }
    if (e.family() != AF_INET6) return {};
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(e.data())->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&v6)) return {v6.s6_addr + 12, 4};
    return {&v6, sizeof v6};
}

}  // namespace

std::optional<unsigned> queue_of_flow(const rss_table& nic, const endpoint& from,
                                      const endpoint& to) {
    const raw_address source = address_of(from);
    const raw_address destination = address_of(to);
    if (nic.queues.empty() || source.size == 0 || source.size != destination.size)
        return std::nullopt;
    hash_input input;
    input.add(source.bytes, source.size);
    input.add(destination.bytes, destination.size);
    input.add_port(from.port());
    input.add_port(to.port());
    return nic.queues[toeplitz_hash(nic.key, input.get()) % nic.queues.size()];
}

unsigned reach_all_queues(reactor& home) {
    const auto net = detail::net_context::of(home);
    detail::zc_supply* const queue = net ? (*net)->zero_copy() : nullptr;
    return queue != nullptr && !home.options().zcrx.device_less ? queue->queues() : 0;
}

std::optional<unsigned> queue_owner(const tcp_stream& stream) {
    auto* net = stream.home().locals().find<detail::net_context>();
    if (net == nullptr || stream.native_handle() < 0) return std::nullopt;
    const auto queue = net->owners().queue_of(stream.native_handle());
    if (!queue) return std::nullopt;
    if (net->owners().owns(*queue)) return stream.home().index();
    return net->owners().first_owner(*queue);
}

}  // namespace sluice
